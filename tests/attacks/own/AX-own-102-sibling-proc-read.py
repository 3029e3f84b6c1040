# ax-id: AX-own-102-sibling-proc-read
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: content of the neighbour's and the zygote's /proc files
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
for pid in {SIBLING_PID, ZYGOTE_PID, os.getppid(), *range(1, 80)} - {os.getpid(), 0}:
    for name in ('status', 'environ', 'maps', 'mem', 'cmdline', 'stat'):
        try:
            with open(f'/proc/{pid}/{name}', 'rb') as file:
                print('AX-ESCAPED', pid, name, file.read(10))
        except OSError:
            pass
    try:
        print('AX-ESCAPED', os.listdir(f'/proc/{pid}/fd'))
    except OSError:
        pass
