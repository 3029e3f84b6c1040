# ax-id: AX-own-601-seccomp-again
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: listener
# ax-source: a second filter with a listener of the worker's own
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
import struct
program = ctypes.create_string_buffer(struct.pack('=HBBI', 0x06, 0, 0, 0x7FFF0000))
header = struct.pack('=HxxxxxxQ', 1, ctypes.addressof(program))
for flags in (8, 8 | 16, 8 | 32, 1 | 8, 2 | 8):
    result = call(317, 1, flags, header)
    if result > 0:
        print('AX-ESCAPED a listener', result)
