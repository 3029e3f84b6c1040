# ax-id: AX-own-602-seccomp-actions
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: listener
# ax-source: questions to seccomp and to landlock about the machine
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
for action in (b'\0\0\xc0\x7f', b'\0\0\xff\x7f'):
    if call(317, 2, 0, action) == 0:
        print('AX-PARTIAL it answers')
if call(444, 0, 0, 1) > 0:
    print('AX-PARTIAL landlock answers')
