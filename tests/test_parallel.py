import os
import signal
import subprocess
import sys

PROGRAM = """
import signal, time
from kdspeech.parallel import open_client
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job begins without it
with open_client(2) as client:
    waiting = [client.submit(time.sleep, 60, key=str(i)) for i in range(2)]
    while sum(map(len, client.processing().values())) < 2:
        time.sleep(0.1)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_ctrl_c_ends_workers_without_a_word_of_theirs():
    """The terminal sends SIGINT to all processes; the first one alone answers."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1 and errors.endswith("KeyboardInterrupt\n")
