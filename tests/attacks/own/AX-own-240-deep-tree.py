# ax-id: AX-own-240-deep-tree
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: tmpfs
# ax-source: a tree that is deeper than any path, for the host to remove
# ax-escaped: host-crash
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
made = 0
here = os.open('.', os.O_RDONLY)
try:
    for number in range(4000):
        os.mkdir('d' * 200, dir_fd=here)
        below = os.open('d' * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        made += 1
    os.symlink('/', 'link', dir_fd=here)
except OSError as error:
    print(error)
print('AX-INFO', made)
