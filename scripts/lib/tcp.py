#!/usr/bin/env python3
"""TCP for the demo: a server that echoes, and clients that want an echo.

tcp.py serve PORT...                     echoes on these ports, both families, until ended
tcp.py ask HOST PORT [SOURCE_PORT]       exit 0 if a line comes back within a second or so
tcp.py talk HOST PORT FILE               keeps one connection busy; FILE has "LOCAL_PORT ECHOES"
"""

import os
import socket
import socketserver
import sys
import threading
import time

PATIENCE = 1.0


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A connection that was cut is what the demo is about."""


def serve(*ports):
    servers = [Server(("::", int(port)), Echo) for port in ports]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def connect(host, port, source_port=0):
    any_address = "::" if ":" in host else "0.0.0.0"
    return socket.create_connection((host, int(port)), PATIENCE, (any_address, int(source_port)))


def ask(host, port, source_port=0):
    try:
        with connect(host, port, source_port) as stream:
            stream.sendall(b"hello\n")
            sys.exit(stream.recv(16) != b"hello\n")
    except OSError:
        sys.exit(1)


def talk(host, port, file):
    with connect(host, port) as stream:
        stream.settimeout(None)
        echoes = 0
        while True:
            stream.sendall(b"hello\n")
            echoes += bool(stream.recv(16))
            with open(file + ".new", "w", encoding="ascii") as out:
                out.write(f"{stream.getsockname()[1]} {echoes}\n")
            os.replace(file + ".new", file)
            time.sleep(0.05)


if __name__ == "__main__":
    {"serve": serve, "ask": ask, "talk": talk}[sys.argv[1]](*sys.argv[2:])
