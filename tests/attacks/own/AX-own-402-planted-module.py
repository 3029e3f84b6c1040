# ax-id: AX-own-402-planted-module
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: policies
# ax-source: modules left in the workspace that the next one's interpreter might import
# ax-escaped: task2-marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
for name in ('json', 'agex_worker', 'sitecustomize', 'usercustomize', 'msgpack', 'encodings', 'ctypes', 'this_is_ours'):
    with open(name + '.py', 'w') as file:
        file.write('print("AX-ESCAPED planted code ran")\n')
with open('ax.pth', 'w') as file:
    file.write('import os; print("AX-ESCAPED")\n')
# ---TASK2---
import json, ctypes
try:
    import this_is_ours
except ImportError:
    print('clean')
