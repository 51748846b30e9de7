"""Configs of the original: each of its networks, and each of its keys."""

from typing import Any

import pytest

from lungseg.config.loading import check_config
from lungseg.config.original import convert_ini
from lungseg.config.original_networks import NETWORKS
from lungseg.config.schema import Config

# The original's network, lines of its section [model], and what they mean here.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "TensorFlowFlexUNet": (
        "base_filters = 16\nbase_kernels = (7,5)\nnum_layers = 7\ndropout_rate = 0.05\n"
        'dilation = (3,3)\nactivation = "mish"\nnormalization = True\ninput_normalize = True\n'
        'dropout_seed_fixing = True\nfinal_activation = "sigmoid"',
        {
            "base_filters": 16, "base_kernels": (7, 5), "num_layers": 7, "dropout_rate": 0.05,
            "dilation": (3, 3), "activation": "mish", "normalization": True,
            "input_normalize": True,
        },
    ),
    "TensorFlowFlexAttentionUNet": (
        "base_filters = 8\nnum_layers = 7\ndropout_rate = 0.2",
        {"base_filters": 8, "num_layers": 7, "dropout_rate": 0.2},
    ),
    "TensorFlowFlexDeepLabV3Plus": ("", {}),
    "TensorFlowFlexEfficientNetB7UNet": ("", {"variant": "M"}),
    "TensorFlowFlexEfficientUNet": ('efficientnet = "B2"', {"variant": "B2"}),
    "TensorFlowFlexMultiResUNet": ("num_layers = 5", {"base_filters": 16, "num_layers": 5}),
    "TensorFlowFlexSharpUNet": (
        "filters = [32, 64, 128]\nmax_filter = 256\nbase_ksize = (3,3)\ndilation = (1, 1)",
        {"base_filters": 32, "num_layers": 4},
    ),
    "TensorFlowFlexSwinUNet": (
        "filter_num_begin = 64\ndepth = 3\nstack_num_down = 4\nstack_num_up = 4\n"
        "patch_size = (2, 2)\nnum_heads = [4, 8, 16]\nwindow_size = [4, 4, 4]\nnum_mlp = 128\n"
        "shift_window = True",
        {
            "base_filters": 64, "num_layers": 3, "blocks": 4, "patch_size": 2, "heads": 4,
            "window": 4, "mlp_ratio": 2,
        },
    ),
    "TensorFlowFlexTransUNet": (
        "filter_num = [32, 64, 128, 256]\nembed_dim = 512\nnum_heads = 16\nnum_transformer = 6\n"
        "num_mlp = 1024\nactivation = 'ReLU'\nstack_num_down = 2\nstack_num_up = 2\n"
        "mlp_activation = 'GELU'\nbatch_norm = True\npool = True\nbackbone = None\n"
        "weights = 'imagenet'\nfreeze_backbone = True\nfreeze_batch_norm = True",
        {
            "base_filters": 32, "num_layers": 4, "embedding": 512, "heads": 16,
            "transformer_layers": 6, "mlp_ratio": 2, "activation": "relu",
        },
    ),
    "TensorFlowFlexU2Net": (
        "base_filters = 64\nnum_layers = 4",
        # The published network: six stages, of at most 512 filters.
        {"base_filters": 64, "num_layers": 6, "max_filters": 512},
    ),
    "TensorFlowFlexUNet3Plus": ("dropout_rate = 0.08", {"dropout_rate": 0.08}),
}  # fmt: skip

# Every key that the original reads, by section, as its source has them.
READ = {
    "augmentor": "angles barrdistortion brightening deformation distortion hflip pincdistortion "
    "rotation sharpening shears shrinks vflip transformer",
    "barrdistortion": "amount centers radius",
    "brightening": "alpha beta",
    "dataset": "class_name datasetclass color_order debug image_format image_normalize mask_format "
    "input_normalize resize_interpolation rgb_mask sharpening",
    "debug": "verbose",
    "deformation": "alpah sigmoid sigmoids",
    "distortion": "distortions gaussian_filter_rsigma gaussian_filter_sigma",
    "eval": "batch_size eval_dir image_datapath mask_datapath",
    "generator": "augmentation debug generated_images_dir generated_masks_dir verbose",
    "image": "color_order color_converter gamma sharpening",
    "infer": "images_dir output_dir algorithm blur colorized_dir ksize mask_colorize merged_dir "
    "threshold",
    "infer3d": "images_dir mask_overlay output_dir overlay_alpha overlay_beta overlay_gamma "
    "slice_normalize slice_resize slice_rotation slice_shape_order video_dir video_fileformat "
    "video_fps video_type",
    "inspect": "model_graph summary",
    "mask": "binarize blur mask_datatype mask_file_format rgb_map threshold algorithm blur_size "
    "classes color_order grayscaling mask_channels mask_colors normalized_threshold sharpening",
    "model": "activation backbone base_filters base_kernels base_ksize batch_norm clipvalue "
    "color_order depth dilation dropout_rate dropout_seed_fixing efficientnet embed_dim filter_num "
    "filter_num_begin filters final_activation freeze_backbone freeze_batch_norm generator "
    "image_channels image_height image_width input_normalize learning_rate loss max_filter metrics "
    "mlp_activation normalization num_classes num_heads num_layers num_mlp num_transformer "
    "optimizer patch_size pool shift_window stack_num_down stack_num_up weights window_size "
    "evaluation image_depth show_summary",
    "pincdistortion": "amount centers radius",
    "segmentation": "black blursize colorize white",
    "sharpening": "k",
    "test": "images_dir masks_dir",
    "tiledinfer": "images_dir output_dir overlapping split_size algorithm background binarize "
    "bitwise_blending mask_colorize merged_dir threshold",
    "train": "batch_size epoch_change_infer epoch_change_infer_dir epoch_change_tiled_infer "
    "epoch_change_tiled_infer_dir epochs eval_dir image_datapath images_dir learning_rate_reducer "
    "mask_datapath masks_dir metrics model_dir num_infer_images patience reducer_factor "
    "reducer_patience steps_per_epoch validation_steps best_model_file create_backup "
    "dataset_splitter save_weights_only seedreset_callback show_history",
    "valid": "images_dir masks_dir",
}


def converted(text: str) -> tuple[Config, list[str]]:
    data, lost = convert_ini(text, "t")
    return check_config(data, "t"), lost


def test_there_is_a_config_of_each_network() -> None:
    assert {name.removeprefix("TensorFlowFlex") for name in CONFIGS} == set(NETWORKS)
    assert len(CONFIGS) == 11


@pytest.mark.parametrize("name", CONFIGS)
def test_each_network_arrives_with_its_parameters(name: str) -> None:
    lines, expected = CONFIGS[name]
    config, lost = converted(f'[model]\nmodel = "{name}"\n{lines}\n')
    assert config.model.name == NETWORKS[name.removeprefix("TensorFlowFlex")]
    found = config.model.model_dump()
    assert {key: found[key] for key in expected} == expected
    if name.endswith("B7UNet"):
        assert lost == [
            f"[model] model = '{name}': EfficientNet-B7 became EfficientNetV2-M, the nearest of "
            "its size"
        ]
    else:
        assert lost == []


@pytest.mark.parametrize("name", ["TensorflowUNet", "TensorflowSlightlyFlexibleUNet"])
def test_names_of_the_older_library_are_known(name: str) -> None:
    assert converted(f'[model]\nmodel = "{name}"\n')[0].model.name == "flexunet"


def test_an_unknown_network_is_named() -> None:
    _, lost = converted('[model]\nmodel = "TensorflowBASNet"\n')
    assert lost == ["[model] model = 'TensorflowBASNet': none of the original's eleven networks"]


def test_a_parameter_that_this_network_does_not_read_is_named() -> None:
    config, lost = converted('[model]\nmodel = "TensorFlowFlexDeepLabV3Plus"\nbase_filters = 99\n')
    assert lost == ["[model] base_filters = 99: TensorFlowFlexDeepLabV3Plus does not read it"]
    assert config.model.base_filters != 99


@pytest.mark.parametrize(
    ("network", "line", "reason"),
    [
        ("SwinUNet", "num_heads = [4, 8, 8, 8]", "heads double"),
        ("SwinUNet", "window_size = [4, 2, 2, 2]", "same window"),
        ("SwinUNet", "stack_num_up = 3", "as many blocks"),
        ("SwinUNet", "shift_window = False", "shifts its windows"),
        ("TransUNet", "num_mlp = 1000", "multiple"),
        ("TransUNet", "backbone = 'VGG16'", "encoder"),
        ("SharpUNet", "max_filter = 300", "twice"),
        ("SharpUNet", "filters = [32, 32]", "twice"),
        ("SharpUNet", "base_ksize = (5, 5)", "3 x 3"),
        ("EfficientUNet", 'efficientnet = "B5"', "first version"),
    ],
)
def test_what_a_network_cannot_do_is_named(network: str, line: str, reason: str) -> None:
    _, lost = converted(f'[model]\nmodel = "TensorFlowFlex{network}"\n{line}\n')
    key = line.split(" = ")[0]
    assert len(lost) == 1
    assert lost[0].startswith(f"[model] {key} = ")
    assert reason in lost[0]


@pytest.mark.parametrize(
    ("section", "key"), [(section, key) for section, keys in READ.items() for key in keys.split()]
)
def test_no_key_that_the_original_reads_is_unknown(section: str, key: str) -> None:
    _, lost = convert_ini(f"[{section}]\n{key} = None\n", "t")
    assert not any("the original does not read it" in line for line in lost)


def test_a_key_that_the_original_does_not_read_is_named() -> None:
    _, lost = converted("[train]\nzzz = 7\n")
    assert lost == ["[train] zzz = 7: the original does not read it"]


AUGMENTED = """
[model]
generator = True
[generator]
augmentation = True
[augmentor]
vflip = False
angles = [5, 350, 90]
shrinks = [0.8, 0.9]
shears = [0.1, -0.3]
deformation = True
distortion = True
sharpening = True
brightening = True
barrdistortion = True
pincdistortion = True
[deformation]
alpah = 900
sigmoids = [6]
[distortion]
distortions = [0.02, 0.04]
[sharpening]
k = 0.7
[brightening]
alpha = 1.3
beta = 51
[barrdistortion]
amount = 0.3
[pincdistortion]
amount = -0.4
"""


def test_the_augmentation_arrives() -> None:
    config, lost = converted(AUGMENTED)
    online = config.augment.online
    assert lost == []
    assert (online.hflip, online.vflip, online.rotate90) == (0.5, 0, 0)
    assert (online.affine.p, online.affine.rotate, online.affine.scale) == (0.5, 90, 0.2)
    assert (online.shear.p, online.shear.limit) == (0.5, 0.3)
    assert (online.elastic.p, online.elastic.alpha, online.elastic.sigma) == (0.5, 900, 6)
    # 0.04 of the slice is a fifth of a slice, which is a cell, times 0.2.
    assert (online.grid.p, online.grid.limit) == (0.5, 0.2)
    assert (online.sharpen.p, online.sharpen.limit) == (0.5, 0.7)
    assert (online.brightness.p, online.brightness.limit) == (0.5, 0.2)
    assert online.brightness.contrast == 0.3
    assert (online.barrel.p, online.barrel.limit) == (0.5, 0.4)
    assert (online.noise.p, online.gamma.p, online.lesion.p) == (0, 0, 0)


def test_without_a_generator_the_original_does_not_augment() -> None:
    online = converted(AUGMENTED.replace("generator = True", "generator = False"))[0].augment.online
    assert (online.hflip, online.shear.p, online.brightness.p) == (0, 0, 0)


def test_an_augmentation_that_makes_no_sense_is_named() -> None:
    _, lost = converted(AUGMENTED.replace("k = 0.7", "k = 'much'"))
    assert any(line.startswith("[sharpening] k = 'much': ") for line in lost)


def test_tiles_arrive_with_the_margins_of_the_original() -> None:
    config, lost = converted("[tiledinfer]\nsplit_size = 512\noverlapping = 64\n")
    assert lost == []
    # A margin of 64 on both sides; two neighbours share 128 pixels.
    assert config.infer.tiles
    assert config.infer.tile_size == (640, 640)
    assert config.infer.tile_overlap * 640 == pytest.approx(128, abs=1e-3)


def test_films_arrive() -> None:
    config, lost = converted("[infer3d]\nvideo_fps = 4\nvideo_fileformat = '.gif'\n")
    assert lost == []
    assert config.infer.video
    assert (config.infer.video_format, config.infer.video_fps) == ("gif", 4)
    assert converted("[infer3d]\nvideo_fps = 5\n")[0].infer.video_format == "mp4"


def test_a_data_set_that_is_laid_out_otherwise_is_named() -> None:
    folders = {
        "train": "images_dir = '../set/train/images/'\nmasks_dir = '../set/train/cmasks/'",
        "valid": "images_dir = '../other/valid/images'",
        "test": "images_dir = '../set/test/images'",
    }
    text = "\n".join(f"[{name}]\n{lines}" for name, lines in folders.items())
    config, lost = converted(text)
    assert str(config.data.dataset) == "../set"
    assert [line.split(" = ")[0] for line in lost] == ["[train] masks_dir", "[valid] images_dir"]


def test_steps_count_only_with_a_generator() -> None:
    steps = "[train]\nsteps_per_epoch = 200\nbatch_size = 2\n"
    assert converted(f"{steps}[model]\ngenerator = True\n")[0].train.samples_per_epoch == 400
    assert converted(steps)[0].train.samples_per_epoch == 0


def test_metrics_have_their_names_here_and_others_are_named() -> None:
    config, lost = converted('[model]\nmetrics = ["binary_accuracy", "iou_coef", "auc"]\n')
    assert config.train.metrics == ["pixel_accuracy", "lung_iou", "lung_dice"]
    assert lost == [
        "[model] metrics = ['binary_accuracy', 'iou_coef', 'auc']: auc is not computed here"
    ]


def test_classes_without_colours_are_named() -> None:
    assert converted("[model]\nnum_classes = 1\n")[1] == []
    assert converted("[model]\nnum_classes = 3\n")[1] == [
        "[model] num_classes = 3: data.rgb_map has the colours of 2 classes"
    ]
