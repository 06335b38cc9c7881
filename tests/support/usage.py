"""Runs a command and tells the processor time of everything that it started, beside its exit status:

    python3 usage.py FD command…    writes seconds of processor time to the open file FD at the end

A process that outlives its parent (a backend of a PostgreSQL that is killed, say) would be waited for by init
and counted nowhere. This process takes the place of init for all that the command starts.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def main():
    found, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(found, False)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, lambda *_: None)  # it is for the command, which sees it too; an ignored one would stay ignored there
    child = os.posix_spawnp(command[0], command, os.environ)
    status = None
    while status is None:
        pid, ended = os.wait()
        if pid == child:
            status = os.waitstatus_to_exitcode(ended)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:  # what has ended by now
            pass
    except ChildProcessError:
        pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    os.write(found, f"{used.ru_utime + used.ru_stime:.2f}".encode())
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
