# ax-id: AX-own-235-stat-oracle
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: metadata
# ax-source: existence, size and times of files outside, by every call that asks
# ax-escaped: marker
# ax-needs: namespaces
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
import os
buffer = ctypes.create_string_buffer(512)
path = SECRET_FILE.encode()
for name, result in (
    ('stat', call(4, path, buffer)), ('lstat', call(6, path, buffer)), ('newfstatat', call(262, -100, path, buffer, 0)),
    ('statx', call(332, -100, path, 0, 0xFFF, buffer)), ('access', call(21, path, 0)), ('faccessat2', call(439, -100, path, 0, 0)),
    ('statfs', call(137, path, buffer)), ('getxattr', call(191, path, b'user.x', buffer, 0)), ('listxattr', call(194, path, buffer, 0)),
    ('open O_PATH', call(257, -100, path, 0o10000000)), ('name_to_handle_at', call(303, -100, path, buffer, buffer, 0)),
):
    errno = ctypes.get_errno()
    if result >= 0:
        print('AX-ESCAPED', name, 'answers')
