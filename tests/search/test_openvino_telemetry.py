import sys

from models.network.latent_hash_net import LatentHashNet
from models.network.openvino_runtime import convert
from models.network.preprocess import Preprocess


def test_openvino_telemetry_is_disabled() -> None:
    scale = Preprocess(64, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
    convert(LatentHashNet("efficientnet_lite0", 8, 2, scale))
    assert sys.modules["openvino_telemetry"] is None
    telemetry = sys.modules["openvino.tools.ovc.telemetry_utils"].tm
    assert telemetry.__name__ == "openvino.tools.ovc.telemetry_stub"
