"""``bench/native/reference.c`` as a process. Arguments: the port."""

import os
import socket
import sys

from bench.load.native import library


def main(port: int) -> None:
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    wrong = library("reference").reference_serve(listening.fileno())
    raise SystemExit(f"the reference server ended: {os.strerror(-wrong)}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
