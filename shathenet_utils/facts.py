"""Facts about a dataset that take the data to compute: counted once, recorded, printed with or without the data.

`python -m shathenet_utils facts` takes about two minutes and writes `data/records/facts/cifar10.json`.
"""

import base64

import numpy as np

from shathenet_utils import datasets, progress, records

PATH = records.RECORDS / "facts" / "cifar10.json"
NEIGHBOURS = (1, 3, 5, 7, 9, 11, 15, 21)
CORRELATIONS = (0.80, 0.85, 0.90, 0.95, 0.99)
NEAR_DUPLICATE = 0.95  # looked at, nearly all pairs above it are one image twice; below 0.90 few are
LISTED = 0.90


def _unit_rows(images: np.ndarray) -> np.ndarray:
    """Each image as a row of zero mean and length 1, float32 (n, pixels): their products are correlations."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def nearest_class_mean(images, labels, others) -> np.ndarray:
    """For each of `others`, the class whose mean image is closest in pixel space (Euclidean): int64 (n,)."""
    means = np.stack([images[labels == label].reshape(-1, images[0].size).mean(axis=0) for label in range(10)])
    flat = others.reshape(len(others), -1).astype(np.float32)
    return np.argmin((means**2).sum(axis=1) - 2 * flat @ means.T, axis=1)


def nearest_neighbours(images, others, count: int) -> np.ndarray:
    """For each of `others`, the indices of its `count` nearest `images` (Euclidean, in pixel space), nearest first.

    images, others: uint8 (n, height, width, channels), at most 65,536 images. Of two at the same distance the one that
    comes first is the nearer. All numbers are whole and below 2⁵³, so that float64 gives the same on every machine.
    """
    rows = images.reshape(len(images), -1).astype(np.float64)
    squares = (rows**2).sum(axis=1)
    nearest = []
    for start in progress.bar(None, "nearest neighbours", iterable=range(0, len(others), 500)):
        batch = others[start : start + 500].reshape(-1, rows.shape[1]).astype(np.float64)
        distances = (batch**2).sum(axis=1, keepdims=True) + squares - 2 * batch @ rows.T
        keys = distances * 65_536 + np.arange(len(images))
        keys.partition(count - 1, axis=1)
        nearest.append(np.sort(keys[:, :count], axis=1) % 65_536)
    return np.concatenate(nearest).astype(np.int64)


def vote(neighbours: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The class that most of each row's neighbours have; a tie goes to the class of the nearest of them."""
    votes = np.stack([(labels[neighbours] == label).sum(axis=1) for label in range(10)], axis=1).astype(float)
    nearest = np.argmax(labels[neighbours][:, :, None] == np.arange(10), axis=1)
    return np.argmax(votes - nearest / 1000, axis=1)


def most_alike(images, others) -> tuple[np.ndarray, np.ndarray]:
    """For each of `others`, the index of the most alike of `images`, as it is or mirrored, and their correlation."""
    rows, mirrored = _unit_rows(images), _unit_rows(others[:, :, ::-1])
    plain = _unit_rows(others)
    indices, correlations = [], []
    for start in progress.bar(None, "near-duplicates", iterable=range(0, len(others), 500)):
        both = np.maximum(plain[start : start + 500] @ rows.T, mirrored[start : start + 500] @ rows.T)
        indices.append(both.argmax(axis=1))
        correlations.append(both.max(axis=1))
    return np.concatenate(indices), np.concatenate(correlations)


def cifar10_facts(folder=None) -> dict:
    """Count what page 00 shows of CIFAR-10. Raises as `datasets.cifar10` does."""
    whole = datasets.cifar10(validation=0, folder=folder)
    train, labels, test, answers = whole.train_images, whole.train_labels, whole.test_images, whole.test_labels

    split = datasets.cifar10(folder=folder)
    near = nearest_neighbours(split.train_images, split.validation_images, max(NEIGHBOURS))
    on_validation = {
        k: float(np.mean(vote(near[:, :k], split.train_labels) == split.validation_labels)) for k in NEIGHBOURS
    }
    chosen = max(on_validation, key=on_validation.get)
    near = nearest_neighbours(train, test, max(NEIGHBOURS))

    alike, correlation = most_alike(train, test)
    closest = [int(i) for i in np.argsort(-correlation, kind="stable") if correlation[i] >= LISTED]
    near_duplicates = [i for i in closest if correlation[i] >= NEAR_DUPLICATE]
    class_means = np.stack([train[labels == label].mean(axis=0) for label in range(10)])
    return {
        "schema": 2,
        "dataset": whole.name,
        "data_fingerprint": whole.fingerprint,
        "provenance": whole.provenance,
        "class_names": list(whole.class_names),
        "train_per_class": np.bincount(labels, minlength=10).tolist(),
        "validation_per_class": np.bincount(split.validation_labels, minlength=10).tolist(),
        "test_per_class": np.bincount(answers, minlength=10).tolist(),
        "channel_mean": (train.reshape(-1, 3).mean(axis=0) / 255).round(6).tolist(),
        "channel_std": (train.reshape(-1, 3).std(axis=0) / 255).round(6).tolist(),
        "class_mean_images": {
            "shape": list(class_means.shape),
            "dtype": "uint8",
            "base64": base64.b64encode(class_means.round().astype(np.uint8).tobytes()).decode(),
        },
        "guessing_accuracy": float(np.bincount(answers).max() / len(answers)),
        "nearest_class_mean_accuracy": float(np.mean(nearest_class_mean(train, labels, test) == answers)),
        "nearest_neighbour": {
            "validation_accuracy_by_k": {str(k): value for k, value in on_validation.items()},
            "chosen_k": chosen,
            "test_accuracy_1": float(np.mean(vote(near[:, :1], labels) == answers)),
            "test_accuracy_chosen_k": float(np.mean(vote(near[:, :chosen], labels) == answers)),
        },
        "near_duplicates": {
            "measure": "highest pixel correlation of a test image, as it is or mirrored, with any training image",
            "test_images_at_or_above": {f"{c:.2f}": int((correlation >= c).sum()) for c in CORRELATIONS},
            "identical": int(sum(np.array_equal(test[i], train[alike[i]]) for i in closest)),
            "threshold": NEAR_DUPLICATE,
            "count": len(near_duplicates),
            "same_label_share": float(np.mean([answers[i] == labels[alike[i]] for i in near_duplicates])),
            "test_train_correlation": [[i, int(alike[i]), round(float(correlation[i]), 4)] for i in closest],
        },
        "test_labels": records.encode_classes(answers),
        "validation_labels": records.encode_classes(split.validation_labels),
    }


def class_means(counted: dict) -> np.ndarray:
    """The mean training image of each class, uint8 (10, 32, 32, 3), from recorded facts."""
    kept = counted["class_mean_images"]
    return np.frombuffer(base64.b64decode(kept["base64"]), kept["dtype"]).reshape(kept["shape"])


def card(counted: dict) -> dict[str, str]:
    """The data card: what the images are, and who says so."""
    source, address, licence = counted["provenance"].split("; ")
    return {
        "images": f"{sum(counted['train_per_class']):,} to train on, {sum(counted['test_per_class']):,} to test on",
        "size": "32 × 32 pixels, three colours, 8 bits each",
        "classes": ", ".join(counted["class_names"]),
        "source": source,
        "address": address,
        "licence": licence,
        "fingerprint": counted["data_fingerprint"],
    }
