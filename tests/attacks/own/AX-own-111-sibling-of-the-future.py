# ax-id: AX-own-111-sibling-of-the-future
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: a second task must not find the first one's process or files
# ax-escaped: task2-marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
print('AX-FIRST', os.getpid())
open('planted', 'w').write('x')
os.symlink('/', 'root')
# ---TASK2---
import os
found = [name for name in ('planted', 'root') if os.path.lexists(name)]
if found:
    print('AX-ESCAPED', found)
