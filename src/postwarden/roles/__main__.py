"""`python -m postwarden.roles ROLE`: what the master executes. The control channel is descriptor 3."""

import importlib
import socket
import sys

ROLES = ("receiver", "courier", "carrier", "agent", "aliases")


def main() -> int:
    role = sys.argv[1] if len(sys.argv) == 2 else ""
    if role not in ROLES:
        print("postwarden.roles: started by `postwarden start`, not by hand", file=sys.stderr)
        return 64
    main_of_role = importlib.import_module(f"postwarden.roles.{role}").main
    result: int = main_of_role(socket.socket(fileno=3))
    return result


if __name__ == "__main__":
    sys.exit(main())
