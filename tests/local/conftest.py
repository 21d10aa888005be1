"""An emulator of its own for the tests of `local`, with the probe stack deployed."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.programs import Program, program_environment, venv_program
from tests.local.probe import TIMEOUT_SECONDS, Emulator, eventually

EMULATOR = Path(__file__).parent / "emulator"


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    work_dir = tmp_path_factory.mktemp("emulator")
    command = [venv_program("emulator"), "-m", "local.emulator", "--work-dir", str(work_dir)]
    command += ["--function-python", venv_program("runtime")]
    with Program("The emulator", command, program_environment(work_dir), work_dir / "log") as program:
        running = Emulator(**json.loads(program.first_line(TIMEOUT_SECONDS)), work_dir=work_dir, outputs={})
        s3, cloudformation = running.client("s3"), running.client("cloudformation")
        s3.create_bucket(Bucket="probe")
        code = {"function.zip": ("handler.py", (EMULATOR / "probe_function.py").read_text())}
        code["layer.zip"] = ("python/layered.py", "WORD = 'from the layer'\n")
        for key, (name, text) in code.items():
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w") as file:
                file.writestr(name, text)
            s3.put_object(Bucket="probe", Key=key, Body=archive.getvalue())
        template = (EMULATOR / "probe.yaml").read_text()
        cloudformation.create_stack(StackName="probe", TemplateBody=template, Capabilities=["CAPABILITY_IAM"])

        def deployed() -> Any:
            stack = cloudformation.describe_stacks(StackName="probe")["Stacks"][0]
            assert "ROLLBACK" not in stack["StackStatus"]
            return stack if stack["StackStatus"] == "CREATE_COMPLETE" else None

        outputs = eventually(deployed)["Outputs"]
        running.outputs.update({output["OutputKey"]: output["OutputValue"] for output in outputs})
        yield running
