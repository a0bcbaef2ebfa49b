"""TensorFlow's and Keras's set-up; nothing else in the package does it.

Keras computes with TensorFlow, channels last, whatever `KERAS_BACKEND` and `keras.json` say. A process that has opened
Keras with another backend before can't use the book: ImportError.

Threads: one inter-op thread is what makes a run repeat bit for bit on a CPU; `$SHATHENET_THREADS` sets the intra-op
threads, which are otherwise as many as there are cores. Both must be set before TensorFlow's first operation, so this
is the first module of the network wing. Its start-up lines are held back unless the import fails.

oneDNN, whose convolutions are the faster ones, is on for every x86 processor; TensorFlow itself turns it on only where
the processor has AVX-512's instructions for neural networks.

Python looks for no garbage while TensorFlow and Keras are imported, and never again among what lives then: what they
are made of stays as long as the process. That saves a seventh of a process's start.
"""

import contextlib
import gc
import os
import platform
import sys
import tempfile


@contextlib.contextmanager
def _held_back_stderr():
    """Keep what native code writes to stderr to ourselves; show it if the block raises."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(stderr, 2)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def _uncollected():
    """Look for no garbage in a block, and never among what lives at its end."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collects:
            gc.enable()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if "keras" in sys.modules and sys.modules["keras"].backend.backend() != "tensorflow":
    raise ImportError(
        f"This process computes with Keras on {sys.modules['keras'].backend.backend()}; the book needs TensorFlow: "
        "import shathenet_utils before keras, in a fresh process."
    )
os.environ["KERAS_BACKEND"] = "tensorflow"
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _uncollected(), _held_back_stderr():
    import tensorflow as tf

    # A context that a user's code has already started keeps its threads; threads() then tells.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(int(os.environ.get("SHATHENET_THREADS") or _cores()))
    tf.get_logger().setLevel("ERROR")  # it warns of every second model in a process that its functions are traced anew
    tf.constant(0.0)  # starts the context: from here on the threads can't change

    import keras  # after TensorFlow's threads are set
    from keras import layers, ops  # noqa: F401

keras.config.set_image_data_format("channels_last")


def threads() -> dict:
    """TensorFlow's threads in this process, {"inter_op": 1, "intra_op": n} where they are in effect."""
    return {
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
    }


@contextlib.contextmanager
def precision(policy: str):
    """Keras's dtype policy, "float32" or "mixed_bfloat16", while a block builds a model; then the former one again."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
