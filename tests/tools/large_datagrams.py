"""Sends COUNT datagrams of 3,000 bytes with DF to ADDRESS, whatever the kernel knows of the path's MTU."""

import socket
import sys

IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3

address, count = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
    for _ in range(count):
        udp.sendto(bytes(3000), (address, 9))
