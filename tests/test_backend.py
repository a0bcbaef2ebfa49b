"""TensorFlow's set-up: threads, quiet start, precision."""

import gc
import os
import platform

import pytest
from helpers import python

from shathenet_utils import backend
from shathenet_utils.backend import keras


def test_one_thread_between_operations_is_in_effect():
    assert backend.threads()["inter_op"] == 1
    assert backend.threads()["intra_op"] >= 1


def test_importing_says_nothing_and_threads_can_be_chosen():
    found = python("from shathenet_utils import backend\nprint(backend.threads())", SHATHENET_THREADS="1")
    assert found.stdout == "{'inter_op': 1, 'intra_op': 1}\n"
    assert found.stderr == ""


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_looked_for_again_after_the_import_where_it_was_before(collects):
    frozen, collected = gc.get_freeze_count(), gc.isenabled()
    assert frozen > 100_000, "what TensorFlow is made of"
    try:
        (gc.enable if collects else gc.disable)()
        with pytest.raises(ImportError), backend._uncollected():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == collects
    finally:
        (gc.enable if collected else gc.disable)()
    assert gc.get_freeze_count() == frozen, "nothing more where the import fails"


def test_what_native_code_says_is_shown_only_where_the_import_fails(capfd):
    with backend._held_back_stderr():
        os.write(2, b"a start-up line\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError), backend._held_back_stderr():
        os.write(2, b"the library is broken\n")
        raise ImportError
    assert capfd.readouterr().err == "the library is broken\n"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is TensorFlow's choice there")
@pytest.mark.parametrize(("users", "enabled"), [(None, "1"), ("0", "0")])
def test_onednn_is_on_unless_the_user_says_otherwise(users, enabled, monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    environment = {} if users is None else {"TF_ENABLE_ONEDNN_OPTS": users}
    source = "import os\nfrom shathenet_utils import backend\nprint(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    assert python(source, **environment).stdout.strip() == enabled


def test_a_process_that_started_tensorflow_with_other_threads_records_nothing():
    source = (
        "import sys\nimport tensorflow as tf\ntf.config.threading.set_inter_op_parallelism_threads(2)\ntf.constant(0)\n"
        "from shathenet_utils import backend, book, runner\nprint(backend.threads()['inter_op'])\n"
        "runner.load_data = lambda variant: sys.exit('it went on')\n"
        "experiment = book.load_experiment('v1_0')\n"
        "try:\n    runner.train_run(experiment, experiment.variants[0], 0, record=True)\n"
        "except ValueError as error:\n    print(error)\n"
    )
    threads, said = python(source).stdout.splitlines()
    assert threads == "2"
    assert said.startswith("v1_0 is recorded with 2 of TensorFlow's threads, and this process has")


@pytest.mark.parametrize("before", ["float32", "mixed_bfloat16"])
def test_a_precision_holds_for_its_block_and_the_former_one_comes_back(before):
    keras.config.set_dtype_policy(before)
    try:
        with pytest.raises(ZeroDivisionError), backend.precision("mixed_bfloat16"):
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
            raise ZeroDivisionError
        assert keras.config.dtype_policy().name == before
    finally:
        keras.config.set_dtype_policy("float32")


def test_another_backend_or_order_of_axes_of_the_users_changes_nothing(tmp_path):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "torch", "image_data_format": "channels_first"}')
    source = (
        "from shathenet_utils import models\nfrom shathenet_utils.backend import keras\n"
        "print(keras.backend.backend(), models.v1_0().input_shape, models.v1_0().count_params())"
    )
    environment = {"KERAS_HOME": str(tmp_path / ".keras"), "KERAS_BACKEND": "torch"}
    assert python(source, **environment).stdout == "tensorflow (None, 32, 32, 3) 17882\n"


def test_a_process_that_opened_keras_with_another_backend_is_told_in_one_sentence():
    source = (
        "import sys, types\nsys.modules['keras'] = keras = types.ModuleType('keras')\n"
        "keras.backend = types.SimpleNamespace(backend=lambda: 'torch')\nimport shathenet_utils.backend"
    )
    said = python(source, check=False).stderr.splitlines()[-1]
    assert "This process computes with Keras on torch; the book needs TensorFlow" in said
