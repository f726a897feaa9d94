"""Sends frames with a virtio-net header of the sender's choice out of eth0, as a guest with a raw socket can.

Each line of standard input is HEADER FRAME in hexadecimal; each line of output is "sent" or the name of the error with
which the guest's own kernel refused the frame.
"""

import errno
import socket
import sys

SOL_PACKET, PACKET_VNET_HDR = 263, 15

with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    raw.bind(("eth0", 0))
    for line in sys.stdin:
        try:
            raw.send(bytes.fromhex(line))
            print("sent")
        except OSError as why:
            print(errno.errorcode.get(why.errno, why.errno))
