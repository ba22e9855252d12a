"""Loads a saved model as a stranger does: by the Auto classes, without spec2mol. `test_remote_code.py` runs it in a
fresh process; arguments are the model's folder or Hub name, and a file of what it should answer."""

import sys


class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "spec2mol":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, NotInstalled())
try:
    import spec2mol
except ModuleNotFoundError:
    pass
else:
    raise SystemExit(f"spec2mol is importable: {spec2mol.__file__}")

import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForPreTraining,
    AutoProcessor,
)


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@torch.no_grad()
def main(name, expected_file):
    torch.set_num_threads(1)
    expected = torch.load(expected_file)
    spectra, molecules = expected["spectra"], expected["molecules"]
    config, processor, feature_extractor, generator, base, pretraining = loaded = [
        auto_class.from_pretrained(name, trust_remote_code=True)
        for auto_class in (
            AutoConfig,
            AutoProcessor,
            AutoFeatureExtractor,
            AutoModelForCausalLM,
            AutoModel,
            AutoModelForPreTraining,
        )
    ]
    assert [type(x).__name__ for x in loaded] == expected["classes"]
    assert all(type(x).__module__.startswith("transformers_modules.") for x in loaded)
    assert config.to_dict().keys() == expected["config"].keys()

    examples = processor(spectra=spectra, molecules=molecules, return_tensors="pt")
    assert examples.keys() == expected["examples"].keys()
    for key, tensor in expected["examples"].items():
        assert torch.equal(examples[key], tensor), key
    features = feature_extractor(spectra, return_tensors="pt")
    assert all(torch.equal(features[key], examples[key]) for key in features)

    output = generator(**examples)
    same(output.logits, expected["logits"])
    same(output.loss, expected["loss"])
    prompts = processor(spectra=spectra, return_tensors="pt")
    ids = generator.generate(**prompts, max_new_tokens=12)
    assert torch.equal(ids, expected["generated"])
    assert processor.decode_molecules(ids) == expected["decoded"]
    assert processor.decode_molecules(examples["input_ids"]) == molecules

    same(base(**prompts).soft_tokens, expected["soft_tokens"])
    texts = processor(molecules=molecules, return_tensors="pt")
    same(base.score(prompts, texts), expected["scores"])
    same(pretraining(**features, **texts).contrast_loss, expected["contrast_loss"])
    print("loaded without spec2mol:", *expected["classes"])


if __name__ == "__main__":
    main(*sys.argv[1:])
