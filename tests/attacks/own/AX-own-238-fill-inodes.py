# ax-id: AX-own-238-fill-inodes
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: tmpfs
# ax-source: the workspace filled with empty files, directories and links
# ax-escaped: marker
# ax-needs: namespaces
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
made = 0
try:
    for number in range(15_000):
        os.close(os.open(f'f{number}', os.O_CREAT | os.O_WRONLY))
        os.mkdir(f'd{number}')
        os.symlink('x', f'l{number}')
        made += 3
except OSError as error:
    print(error)
if made > 20_000:
    print('AX-ESCAPED', made)
