# ax-id: AX-own-110-sibling-priority
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: priority, affinity and limits of the neighbour and of the zygote
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
mask = ctypes.create_string_buffer(128)
for pid in (SIBLING_PID, ZYGOTE_PID):
    for name, result in (
        ('setpriority', call(141, 0, pid, 19)),
        ('sched_setaffinity', call(203, pid, 128, ctypes.create_string_buffer(b'\1' * 128))),
        ('prlimit64', call(302, pid, 7, ctypes.byref((ctypes.c_uint64 * 2)(4, 4)), None)),
        ('ioprio_set', call(251, 1, pid, 3 << 13)),
    ):
        if result == 0:
            print('AX-ESCAPED', name, pid)
