# ax-id: AX-own-606-refused-storm
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: listener
# ax-source: a million refused calls, to keep whoever answers them busy
# ax-escaped: hang, host memory
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
import threading
def storm():
    for _ in range(200_000):
        libc.chmod(b'/', 0)
        libc.socket(2, 1, 0)
threads = [threading.Thread(target=storm) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
