# ax-id: AX-own-607-refused-names
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: listener
# ax-source: refused calls whose names carry terminal controls and are very long
# ax-escaped: terminal controls
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
import os
for name in (b'/\x1b]0;AX-RAW\x07', b'/\x1b[2J\x1b[31m', b'/' + b'A' * 4094, b'/\xff\xfe\xe2\x80\xae', b'/a\nAX-ESCAPED forged line'):
    for attempt in (lambda: os.chmod(name, 0), lambda: os.open(name, 0), lambda: os.mkdir(name), lambda: libc.execve(name, None, None)):
        try:
            attempt()
        except OSError:
            pass
