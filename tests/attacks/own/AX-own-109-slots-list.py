# ax-id: AX-own-109-slots-list
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: the directory of all workers' slots
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
for path in ('..', '../..', '../../..', os.path.dirname(os.path.dirname(SIBLING_WORK))):
    try:
        names = os.listdir(path)
    except OSError as error:
        print(error)
        continue
    if os.path.basename(os.path.dirname(SIBLING_WORK)) in names or 'owner.lock' in names:
        print('AX-ESCAPED', names)
