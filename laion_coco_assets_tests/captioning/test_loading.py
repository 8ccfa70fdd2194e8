"""Models load from published formats without a network, say what they are, and are never partly random."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import load_file, save_file

from laion_coco_assets.captioning import hub as hub_module
from laion_coco_assets.captioning.blip_captioner import BlipCaptioner
from laion_coco_assets.captioning.clip import _preprocessing, _trained_with_quick_gelu
from laion_coco_assets.captioning.loading import load_blip, load_clip
from laion_coco_assets.contract.fingerprint import content_digest
from laion_coco_assets.contract.profile import CaptionerSource, CaptionSettings, RankerSource
from laion_coco_assets.errors import ModelUnavailableError
from laion_coco_assets_tests.captioning.conftest import CPU, RESNET, VIT, blip_tokenizer, randomise, save_clip

F32 = torch.float32


def local_blip(path: Path) -> CaptionerSource:
    return CaptionerSource(name="Salesforce/blip-image-captioning-large", path=path)


def clip_at(path: Path, name: str = "tiny", pretrained: str = "own") -> RankerSource:
    return RankerSource(name=name, pretrained=pretrained, path=path)


@pytest.fixture
def blip_copy(blip_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(blip_folder, tmp_path / "blip"))


@pytest.fixture
def vit_folder(tmp_path: Path) -> Path:
    return save_clip(tmp_path / "vit", VIT)


class Named:
    """A small architecture under a name that open_clip knows, as a profile names ViT-L-14, and weights for it."""

    name = "tiny-vit-of-the-tests"

    def __init__(self, folder: Path) -> None:
        (folder / f"{self.name}.json").write_text(json.dumps(VIT))
        open_clip.add_model_config(folder)
        self.model = open_clip.CLIP(**VIT).eval()
        randomise(self.model, 0.1, 1)

    def save(self, file: Path) -> Path:
        if file.suffix == ".safetensors":
            save_file(self.model.state_dict(), file)
        else:
            torch.save(self.model.state_dict(), file)
        return file


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Named:
    return Named(tmp_path_factory.mktemp("architectures"))


class TestBlip:
    @pytest.mark.usefixtures("no_network")
    def test_local_folder_needs_no_network_and_says_what_it_is(self, blip_folder: Path) -> None:
        blip = load_blip(local_blip(blip_folder), CPU, F32)
        assert blip.revision == f"local:{content_digest(blip_folder)}"
        assert not blip.model.training
        assert (blip.start_token, blip.end_token, blip.positions) == (len(blip_tokenizer()), 3, 40)
        saved = load_file(blip_folder / "model.safetensors")
        for name, tensor in saved.items():
            torch.testing.assert_close(blip.model.state_dict()[name], tensor, atol=0, rtol=0)

    def test_dtype_is_the_deployments(self, blip_folder: Path) -> None:
        blip = load_blip(local_blip(blip_folder), CPU, torch.bfloat16)
        assert {each.dtype for each in blip.model.parameters()} == {torch.bfloat16}

    @pytest.mark.usefixtures("no_network")
    def test_hubs_own_layout_loads_alike(
        self,
        blip_copy: Path,
        blip_folder: Path,
        images: list[Image.Image],
        settings_with: Callable[..., CaptionSettings],
    ) -> None:
        """The hub's repository is older than today's save_pretrained: vocab.txt, preprocessor_config.json, a .bin."""
        facts = json.loads((blip_copy / "processor_config.json").read_text())["image_processor"]
        for name in ("processor_config.json", "tokenizer.json"):
            (blip_copy / name).unlink()
        (blip_copy / "preprocessor_config.json").write_text(json.dumps({**facts, "size": 64}))
        (blip_copy / "tokenizer_config.json").write_text(
            json.dumps({"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
        )
        vocabulary = sorted(blip_tokenizer().get_vocab().items(), key=lambda each: each[1])
        (blip_copy / "vocab.txt").write_text("\n".join(word for word, _ in vocabulary) + "\n")
        weights = load_file(blip_copy / "model.safetensors")
        (blip_copy / "model.safetensors").unlink()
        torch.save(weights, blip_copy / "pytorch_model.bin")

        old = BlipCaptioner(load_blip(local_blip(blip_copy), CPU, F32), settings_with())
        new = BlipCaptioner(load_blip(local_blip(blip_folder), CPU, F32), settings_with())
        assert old.caption(images, list("abcdefg")) == new.caption(images, list("abcdefg"))

    @pytest.mark.parametrize(
        ("lacking", "said"),
        [
            ("config.json", "config.json missing"),
            ("model.safetensors", r"weights \(model.safetensors\) missing"),
            ("tokenizer.json", r"a tokenizer \(tokenizer.json or vocab.txt\) missing"),
        ],
    )
    def test_missing_file(self, blip_copy: Path, lacking: str, said: str) -> None:
        (blip_copy / lacking).unlink()
        with pytest.raises(ModelUnavailableError, match=f"{blip_copy}: .*{said}"):
            load_blip(local_blip(blip_copy), CPU, F32)

    def test_path_that_is_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailableError, match=r"caption\.model\.path: .*nowhere is not a folder"):
            load_blip(local_blip(tmp_path / "nowhere"), CPU, F32)

    @pytest.mark.parametrize("keep", [4, 2000, 60_000])
    def test_truncated_weights(self, blip_copy: Path, keep: int) -> None:
        file = blip_copy / "model.safetensors"
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(ModelUnavailableError, match=f"{blip_copy}: damaged.*fetch the model again"):
            load_blip(local_blip(blip_copy), CPU, F32)

    @pytest.mark.parametrize(
        "lost", ["vision_model.encoder.layers.1.mlp.fc1.weight", "text_decoder.cls.predictions.bias"]
    )
    def test_missing_tensors_are_not_made_up(self, blip_copy: Path, lost: str) -> None:
        weights = load_file(blip_copy / "model.safetensors")
        lost = lost if lost in weights else "text_decoder.cls.predictions.decoder.bias"
        kept = {name: tensor for name, tensor in weights.items() if name != lost}
        assert len(kept) == len(weights) - 1
        save_file(kept, blip_copy / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelUnavailableError, match=r"the weights lack \d of the model's tensors"):
            load_blip(local_blip(blip_copy), CPU, F32)

    def test_tensors_of_another_size(self, blip_copy: Path) -> None:
        config = json.loads((blip_copy / "config.json").read_text())
        config["text_config"]["intermediate_size"] = 72
        (blip_copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelUnavailableError, match="the weights do not fit the configuration"):
            load_blip(local_blip(blip_copy), CPU, F32)

    @pytest.mark.parametrize(
        "changes", [{"model_type": "bert"}, {"architectures": ["BlipForQuestionAnswering"]}, {"model_type": None}]
    )
    def test_another_model(self, blip_copy: Path, changes: dict[str, object]) -> None:
        config = json.loads((blip_copy / "config.json").read_text()) | changes
        (blip_copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelUnavailableError, match="not a BLIP that captions"):
            load_blip(local_blip(blip_copy), CPU, F32)

    def test_configuration_that_is_no_json(self, blip_copy: Path) -> None:
        (blip_copy / "config.json").write_text('{"model_type": "blip"')
        with pytest.raises(ModelUnavailableError, match=r"config\.json: cannot be read"):
            load_blip(local_blip(blip_copy), CPU, F32)

    def test_pickled_code_is_never_run(self, blip_copy: Path, tmp_path: Path) -> None:
        (blip_copy / "model.safetensors").unlink()
        torch.save({"evil": _Evil(tmp_path / "ran")}, blip_copy / "pytorch_model.bin")
        with pytest.raises(ModelUnavailableError, match="damaged"):
            load_blip(local_blip(blip_copy), CPU, F32)
        assert not (tmp_path / "ran").exists()

    def test_image_sizes_that_do_not_fit(self, blip_copy: Path) -> None:
        facts = json.loads((blip_copy / "processor_config.json").read_text())
        facts["image_processor"]["size"] = {"height": 64, "width": 80}
        (blip_copy / "processor_config.json").write_text(json.dumps(facts))
        with pytest.raises(ModelUnavailableError, match="do not belong together"):
            load_blip(local_blip(blip_copy), CPU, F32)


class _Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.file),))


class TestClip:
    @pytest.mark.usefixtures("no_network")
    @pytest.mark.parametrize("config", [VIT, RESNET])
    def test_local_folder_needs_no_network_and_equals_open_clips_loading(
        self, config: dict[str, object], tmp_path: Path
    ) -> None:
        folder = save_clip(tmp_path / "clip", config, quick_gelu=True)
        clip = load_clip(clip_at(folder), CPU, F32)
        theirs = open_clip.create_model(f"local-dir:{folder}").eval()
        assert clip.revision == f"local:{content_digest(folder)}"
        assert not clip.model.training
        ours = clip.model.state_dict()
        assert ours.keys() == theirs.state_dict().keys()
        for name, tensor in theirs.state_dict().items():
            torch.testing.assert_close(ours[name], tensor, atol=0, rtol=0)
        assert clip.model.visual.preprocess_cfg["mean"] == [0.5, 0.4, 0.3]

    @pytest.mark.usefixtures("no_network")
    @pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
    def test_one_weights_file_of_a_known_architecture(self, suffix: str, tmp_path: Path, named: Named) -> None:
        file = named.save(tmp_path / f"weights{suffix}")
        clip = load_clip(clip_at(file, named.name, "openai"), CPU, F32)
        assert clip.revision == f"local:{content_digest(file)}"
        for name, tensor in named.model.state_dict().items():
            torch.testing.assert_close(clip.model.state_dict()[name], tensor, atol=0, rtol=0)

    @pytest.mark.usefixtures("no_network")
    def test_openais_own_state_dict_in_half_precision(self, tmp_path: Path, named: Named) -> None:
        """Their files hold three numbers beside the weights, and float16."""
        weights: dict[str, torch.Tensor] = {key: value.half() for key, value in named.model.state_dict().items()}
        extra = {
            "input_resolution": torch.tensor(64),
            "context_length": torch.tensor(77),
            "vocab_size": torch.tensor(49408),
        }
        torch.save({"state_dict": {**weights, **extra}}, tmp_path / "openai.pt")
        clip = load_clip(clip_at(tmp_path / "openai.pt", named.name, "openai"), CPU, F32)
        assert clip.model.visual.conv1.weight.dtype == F32
        torch.testing.assert_close(clip.model.visual.conv1.weight, weights["visual.conv1.weight"].float())

    @pytest.mark.parametrize(("pretrained", "expected"), [("openai", True), ("laion2b", False)])
    def test_quick_gelu_is_on_when_the_tag_says_so(
        self, pretrained: str, expected: bool, tmp_path: Path, named: Named, images: list[Image.Image]
    ) -> None:
        file = named.save(tmp_path / "weights.safetensors")
        clip = load_clip(clip_at(file, named.name, pretrained), CPU, F32)
        assert any(isinstance(each, QuickGELU) for each in clip.model.modules()) == expected
        # And it is what computes: the same weights in open_clip's own classes, the activation chosen by hand.
        theirs = open_clip.CLIP(**VIT, quick_gelu=expected).eval()
        theirs.load_state_dict(named.model.state_dict())
        tokens, pixels = clip.tokenizer(["a red ball"]), clip.preprocess(images[0]).unsqueeze(0)
        with torch.no_grad():
            torch.testing.assert_close(clip.model.encode_text(tokens), theirs.encode_text(tokens))
            torch.testing.assert_close(clip.model.encode_image(pixels), theirs.encode_image(pixels))

    @pytest.mark.parametrize("name", ["ViT-L-14", "RN50x64", "ViT-L-14-336"])
    def test_openais_towers_in_the_profiles_use_quick_gelu(self, name: str) -> None:
        source = RankerSource(name=name, pretrained="openai")
        assert _trained_with_quick_gelu(source)
        assert _preprocessing(source)["mean"] == (0.48145466, 0.4578275, 0.40821073)

    def test_folder_of_an_own_architecture_tagged_openai_uses_quick_gelu(self, vit_folder: Path) -> None:
        clip = load_clip(clip_at(vit_folder, "demo-vit", "openai"), CPU, F32)
        assert any(isinstance(each, QuickGELU) for each in clip.model.modules())

    def test_image_tower_beside_the_whole_model_is_not_taken(self, vit_folder: Path) -> None:
        """timm's repositories hold the image tower as model.safetensors beside open_clip's file."""
        save_file({"conv1.weight": torch.zeros(1)}, vit_folder / "model.safetensors")
        load_clip(clip_at(vit_folder), CPU, F32)

    def test_missing_tensors_are_not_made_up(self, vit_folder: Path) -> None:
        file = vit_folder / "open_clip_model.safetensors"
        weights = load_file(file)
        del weights["visual.proj"], weights["transformer.resblocks.0.ln_1.weight"]
        weights["foreign"] = torch.zeros(1)
        weights["ln_final.bias"] = torch.zeros(3)
        save_file(weights, file)
        said = (
            r"2 missing \(transformer\.resblocks\.0\.ln_1\.weight, visual\.proj\); 1 unknown \(foreign\); 1 of another"
        )
        with pytest.raises(ModelUnavailableError, match=said):
            load_clip(clip_at(vit_folder), CPU, F32)

    @pytest.mark.parametrize("keep", [0, 4, 2000, 60_000])
    @pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
    def test_truncated_weights(self, keep: int, suffix: str, tmp_path: Path, named: Named) -> None:
        file = named.save(tmp_path / f"weights{suffix}")
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(ModelUnavailableError, match=f"{file}: not weights, or damaged"):
            load_clip(clip_at(file, named.name), CPU, F32)

    def test_pickled_code_is_never_run(self, tmp_path: Path, named: Named) -> None:
        torch.save({"evil": _Evil(tmp_path / "ran")}, tmp_path / "weights.pt")
        with pytest.raises(ModelUnavailableError, match="not weights, or damaged"):
            load_clip(clip_at(tmp_path / "weights.pt", named.name), CPU, F32)
        assert not (tmp_path / "ran").exists()

    def test_torchscript_archive_says_what_to_take_instead(self, tmp_path: Path, named: Named) -> None:
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "ViT.pt")
        with pytest.raises(
            ModelUnavailableError, match=r"a TorchScript archive.*use the same weights as \.safetensors"
        ):
            load_clip(clip_at(tmp_path / "ViT.pt", named.name), CPU, F32)

    def test_foreign_folders(self, vit_folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailableError, match=r"rank\.model\.path: .*nowhere does not exist"):
            load_clip(clip_at(tmp_path / "nowhere"), CPU, F32, setting="rank.model.path")
        config = vit_folder / "open_clip_config.json"
        config.write_text(config.read_text().replace("model_cfg", "model_config"))
        with pytest.raises(ModelUnavailableError, match=r"open_clip cannot build this model .*missing 'model_cfg'"):
            load_clip(clip_at(vit_folder), CPU, F32)
        config.unlink()
        with pytest.raises(ModelUnavailableError, match=r"no open_clip_config\.json in it"):
            load_clip(clip_at(vit_folder), CPU, F32)
        save_clip(vit_folder, VIT)
        (vit_folder / "open_clip_model.safetensors").unlink()
        with pytest.raises(ModelUnavailableError, match="no weights in it"):
            load_clip(clip_at(vit_folder), CPU, F32)

    def test_unknown_architecture_and_tag(self, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailableError, match="'ViT-Z' is no architecture that open_clip"):
            load_clip(RankerSource(name="ViT-Z", pretrained="openai"), CPU, F32)
        with pytest.raises(ModelUnavailableError, match=r"no weights 'openia' for ViT-L-14; its tags are: openai, "):
            load_clip(RankerSource(name="ViT-L-14", pretrained="openia"), CPU, F32)


REVISION = "2227ac38c9f16105cb0412e7cab4759978a8fd90"
OFFLINE = """
import torch
from laion_coco_assets.captioning.loading import load_blip
from laion_coco_assets.errors import ModelUnavailableError
from laion_coco_assets.contract.profile_files import load_profile
try:
    load_blip(load_profile("laion-coco").caption.model, torch.device("cpu"), torch.float32)
except ModelUnavailableError as error:
    print(error)
"""


class Hub:
    """The hub's client as a machine's environment would set it: where its cache is, whom it asks, whether at all."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = folder, monkeypatch
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
        self.go_offline(False)

    def go_offline(self, offline: bool = True) -> None:
        self._patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)

    def answer_at(self, endpoint: str) -> None:
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        self._patch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        self._patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

    def snapshot(self, repo: str) -> Path:
        """Where the cache has a repository at REVISION."""
        return self._folder / f"models--{repo.replace('/', '--')}" / "snapshots" / REVISION

    def point(self, repo: str, branch: str) -> None:
        refs = self.snapshot(repo).parent.parent / "refs"
        refs.mkdir()
        (refs / branch).write_text(REVISION)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(tmp_path / "hub", monkeypatch)


class TestHub:
    def test_offline_says_everything_needed_for_blip(self, tmp_path: Path) -> None:
        """In a process of its own: the hub's client reads HF_HUB_OFFLINE once, when it is imported."""
        environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
        result = subprocess.run(
            [sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, timeout=500, check=True
        )
        name, said = "Salesforce/blip-image-captioning-large", result.stdout
        assert f"the model {name} at revision {REVISION}" in said
        assert "about 1.9 GB" in said
        assert f"hf download {name} --revision {REVISION}" in said
        assert "caption.model.path" in said

    @pytest.mark.parametrize(
        ("name", "repo", "size"),
        [
            ("ViT-L-14", "timm/vit_large_patch14_clip_224.openai", "about 1.7 GB"),
            ("RN50x64", "timm/resnet50x64_clip.openai", "about 2.5 GB"),
        ],
    )
    def test_offline_says_everything_needed_for_clip(self, name: str, repo: str, size: str, hub: Hub) -> None:
        hub.go_offline()
        with pytest.raises(ModelUnavailableError) as raised:
            load_clip(RankerSource(name=name, pretrained="openai"), CPU, F32, setting="final.model.path")
        assert size in str(raised.value)
        assert f"hf download {repo} --revision main --include 'open_clip_model.safetensors'" in str(raised.value)
        assert "final.model.path" in str(raised.value)

    def test_hub_that_refuses_the_connection(self, hub: Hub) -> None:
        hub.answer_at("http://127.0.0.1:9")
        with pytest.raises(ModelUnavailableError, match=r"of unknown size[\s\S]*the hub cannot be reached"):
            load_blip(CaptionerSource(name="nobody/nothing"), CPU, F32)

    def test_hub_that_never_answers_is_not_waited_for(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hub_module, "_ANSWER_S", 0.5)
        with socket.create_server(("127.0.0.1", 0)) as server:
            hub.answer_at(f"http://127.0.0.1:{server.getsockname()[1]}")
            with pytest.raises(ModelUnavailableError, match="the hub cannot be reached"):
                load_blip(CaptionerSource(name="nobody/nothing"), CPU, F32)

    def test_model_that_the_hub_does_not_have(self, hub: Hub, blip_folder: Path) -> None:
        with serve_hub(blip_folder, REVISION) as (endpoint, _):
            hub.answer_at(endpoint)
            with pytest.raises(ModelUnavailableError, match="the hub has no such model"):
                load_blip(CaptionerSource(name="own/other"), CPU, F32)

    @pytest.mark.usefixtures("no_network")
    def test_pinned_commit_in_the_cache_needs_no_network(self, hub: Hub, blip_folder: Path) -> None:
        shutil.copytree(blip_folder, hub.snapshot("own/blip"))
        assert load_blip(CaptionerSource(name="own/blip", revision=REVISION), CPU, F32).revision == REVISION

    def test_branch_in_the_cache_serves_without_a_network_and_gives_its_commit(
        self, hub: Hub, blip_folder: Path
    ) -> None:
        shutil.copytree(blip_folder, hub.snapshot("own/blip"))
        hub.point("own/blip", "main")
        hub.answer_at("http://127.0.0.1:9")
        assert load_blip(CaptionerSource(name="own/blip"), CPU, F32).revision == REVISION

    @pytest.mark.usefixtures("no_network")
    def test_clip_in_the_cache(self, hub: Hub, named: Named, monkeypatch: pytest.MonkeyPatch) -> None:
        facts = {"hf_hub": "own/clip/", "quick_gelu": True, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, named.name, {"openai": facts})
        hub.snapshot("own/clip").mkdir(parents=True)
        named.save(hub.snapshot("own/clip") / "open_clip_model.safetensors")
        clip = load_clip(RankerSource(name=named.name, pretrained="openai", revision=REVISION), CPU, F32)
        assert clip.revision == REVISION
        assert clip.model.visual.preprocess_cfg["mean"] == (0.5, 0.5, 0.5)
        assert any(isinstance(each, QuickGELU) for each in clip.model.modules())

    def test_incomplete_cache_is_not_loaded(self, hub: Hub, blip_folder: Path) -> None:
        shutil.copytree(blip_folder, hub.snapshot("own/blip"), ignore=shutil.ignore_patterns("*.safetensors"))
        hub.go_offline()
        with pytest.raises(ModelUnavailableError, match="is not available"):
            load_blip(CaptionerSource(name="own/blip", revision=REVISION), CPU, F32)

    def test_download_takes_what_is_needed_at_the_resolved_commit(self, hub: Hub, blip_folder: Path) -> None:
        """Against a hub of our own on the loopback: its two questions, and the files."""
        with serve_hub(blip_folder, REVISION) as (endpoint, asked):
            hub.answer_at(endpoint)
            blip = load_blip(CaptionerSource(name="own/blip"), CPU, F32)
        assert blip.revision == REVISION
        fetched = {path.rsplit("/", 1)[1] for path in asked if "/resolve/" in path}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched
        assert "tf_model.h5" not in fetched
        assert all(f"/resolve/{REVISION}/" in path for path in asked if "/resolve/" in path)


@contextmanager
def serve_hub(folder: Path, commit: str) -> Iterator[tuple[str, list[str]]]:
    """As much of the hub's HTTP interface as its client needs for one repository."""
    asked: list[str] = []
    files = {each.name: each.read_bytes() for each in folder.iterdir()} | {"tf_model.h5": b"another format"}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(self.path)
            if "own/blip" not in self.path:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            name = self.path.split("?")[0].rsplit("/", 1)[1]
            if "/resolve/" in self.path:
                body = files[name]
                extra = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": commit}
            else:
                siblings = [{"rfilename": each} for each in files]
                body = json.dumps({"id": "own/blip", "sha": commit, "siblings": siblings}).encode()
                extra = {"Content-Type": "application/json"}
            self.send_response(200)
            for key, value in {**extra, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
