# ax-id: AX-own-108-sibling-files
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: the neighbour's workspace, by its path and by ways up from ours
# ax-escaped: secret of the neighbour
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
for path in (SIBLING_WORK, os.path.relpath(SIBLING_WORK), WORK + '/../../' + '/'.join(SIBLING_WORK.split('/')[-2:])):
    try:
        print('AX-ESCAPED' if 'secret' in os.listdir(path) else 'AX-INFO its own', path)
    except OSError as error:
        print(error)
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH):
        try:
            fd = os.open(path + '/secret', flags)
            print('AX-PARTIAL opened', path, flags)
            print(os.read(fd, 100), open(f'/proc/self/fd/{fd}').read())
        except OSError as error:
            print(error)
    try:
        os.rename(path + '/secret', WORK + '/taken')
        print('AX-ESCAPED', open(WORK + '/taken').read())
    except OSError as error:
        print(error)
    try:
        os.rename(WORK, path + '/planted')
        print('AX-ESCAPED planted')
    except OSError as error:
        print(error)
