# ax-id: AX-own-101-sibling-proc
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: the neighbour's /proc entries, by its number and by walking
# ax-escaped: marker
# ax-needs: namespaces
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
for pid in {SIBLING_PID, ZYGOTE_PID, *range(1, 80)} - {os.getpid()}:
    for name in ('status', 'environ', 'maps', 'mem', 'cmdline', 'stat', 'ns/pid', 'fd', 'root', 'cwd'):
        path = f'/proc/{pid}/{name}'
        for look in (os.stat, os.readlink, os.listdir, lambda path: open(path, 'rb').read(1)):
            try:
                print('AX-ESCAPED', path, look(path))
            except OSError:
                pass
