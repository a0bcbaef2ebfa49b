"""What is counted of a dataset is counted correctly, and what is recorded of CIFAR-10 is what was counted."""

import json

import numpy as np
import pytest

from shathenet_utils import datasets, facts, files, records

stream = np.random.default_rng(0)
images = stream.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
labels = np.arange(60) % 10
others = stream.integers(0, 256, (25, 4, 4, 3), dtype=np.uint8)


def distances(one, other):
    return np.sqrt(((one.astype(float) - other.astype(float)) ** 2).sum())


def test_nearest_class_mean_by_hand():
    means = [images[labels == label].astype(float).mean(axis=0) for label in range(10)]
    expected = [np.argmin([distances(other, mean) for mean in means]) for other in others]
    assert facts.nearest_class_mean(images, labels, others).tolist() == expected


def test_of_two_neighbours_at_the_same_distance_the_first_is_the_nearer():
    black, white = np.zeros((1, 32, 32, 3), np.uint8), np.full((1, 32, 32, 3), 255, np.uint8)
    images = np.concatenate([white, black, white, black, white])
    assert facts.nearest_neighbours(images, black, 5).tolist() == [[1, 3, 0, 2, 4]]


def test_nearest_neighbours_by_hand(monkeypatch):
    expected = [np.argsort([distances(other, image) for image in images])[:7] for other in others]
    np.testing.assert_array_equal(facts.nearest_neighbours(images, others, 7), expected)


def test_an_image_is_its_own_nearest_neighbour():
    np.testing.assert_array_equal(facts.nearest_neighbours(images, images, 1)[:, 0], np.arange(60))


@pytest.mark.parametrize(
    ("classes", "winner"),
    [([3], 3), ([3, 5, 5], 5), ([3, 5], 3), ([5, 3], 5), ([1, 2, 2, 1], 1), ([4, 1, 1, 2, 2], 1), ([0, 9, 9, 0, 7], 0)],
    ids=str,
)
def test_a_vote_goes_to_the_commonest_class_and_a_tie_to_the_nearest(classes, winner):
    labels = np.arange(10)
    assert facts.vote(np.array([classes]), labels).tolist() == [winner]


def test_votes_of_random_neighbours_by_hand():
    neighbours = stream.integers(0, 60, (50, 21))
    for row, winner in zip(neighbours, facts.vote(neighbours, labels), strict=True):
        seen = labels[row].tolist()
        commonest = [label for label in seen if seen.count(label) == max(map(seen.count, seen))]
        assert winner == commonest[0]


def test_the_most_alike_image_by_hand():
    def alike(one, other):
        return max(np.corrcoef(one.ravel(), version.ravel())[0, 1] for version in (other, other[:, ::-1]))

    table = np.array([[alike(image, other) for image in images] for other in others])
    indices, correlations = facts.most_alike(images, others)
    np.testing.assert_array_equal(indices, table.argmax(axis=1))
    np.testing.assert_allclose(correlations, table.max(axis=1), atol=1e-5)


def test_a_mirrored_or_brighter_twin_is_found():
    twins = np.stack([images[7][:, ::-1], images[9] // 2 + 20])
    indices, correlations = facts.most_alike(images, twins)
    assert indices.tolist() == [7, 9]
    assert correlations.min() > 0.999


def test_an_image_of_one_colour_is_like_no_other():
    _, correlations = facts.most_alike(images, np.full((1, 4, 4, 3), 77, np.uint8))
    assert correlations.tolist() == [0]


# What is recorded


@pytest.fixture(scope="module")
def counted():
    return records.facts()


def test_the_recorded_facts_agree_with_each_other(counted):
    assert counted["train_per_class"] == [5000] * 10
    assert counted["validation_per_class"] == [500] * 10
    answers = records.decode_classes(counted["test_labels"])
    assert np.bincount(answers, minlength=10).tolist() == counted["test_per_class"] == [1000] * 10
    held_out = records.decode_classes(counted["validation_labels"])
    assert np.bincount(held_out, minlength=10).tolist() == counted["validation_per_class"]
    assert counted["guessing_accuracy"] == 0.1
    assert (counted["schema"], counted["dataset"]) == (records.SCHEMA, "cifar10")
    assert tuple(counted["class_names"]) == datasets.CIFAR10_CLASSES
    assert counted["provenance"] == datasets.CIFAR10_PROVENANCE


def test_the_recorded_neighbours_were_chosen_on_validation(counted):
    neighbour = counted["nearest_neighbour"]
    by_k = neighbour["validation_accuracy_by_k"]
    assert [int(k) for k in by_k] == list(facts.NEIGHBOURS)
    assert by_k[str(neighbour["chosen_k"])] == max(by_k.values())
    assert 0.1 < counted["nearest_class_mean_accuracy"] < neighbour["test_accuracy_1"] < 0.5


def test_the_recorded_near_duplicates_agree_with_each_other(counted):
    duplicates = counted["near_duplicates"]
    pairs = duplicates["test_train_correlation"]
    correlations = [correlation for _, _, correlation in pairs]
    assert correlations == sorted(correlations, reverse=True)
    assert duplicates["count"] == sum(correlation >= duplicates["threshold"] for correlation in correlations)
    for threshold, count in duplicates["test_images_at_or_above"].items():
        if float(threshold) >= facts.LISTED:
            assert count == sum(correlation >= float(threshold) for correlation in correlations)
    assert all(0 <= test < 10_000 and 0 <= train < 50_000 for test, train, _ in pairs)
    assert len({test for test, _, _ in pairs}) == len(pairs)


def test_the_recorded_class_means_are_images_of_the_recorded_mean(counted):
    means = facts.class_means(counted)
    assert (means.shape, means.dtype) == ((10, 32, 32, 3), np.uint8)
    np.testing.assert_allclose(means.reshape(-1, 3).mean(axis=0) / 255, counted["channel_mean"], atol=0.5 / 255)


def test_the_data_card_says_whose_images_these_are(counted):
    card = facts.card(counted)
    assert card["images"] == "50,000 to train on, 10,000 to test on"
    assert card["address"].startswith("https://")
    assert card["licence"] == "no licence is stated"


@pytest.mark.needs_cifar10
def test_cifar10_has_the_recorded_statistics(counted):
    whole = datasets.cifar10(validation=0)
    pixels = whole.train_images.reshape(-1, 3)
    np.testing.assert_allclose(pixels.mean(axis=0) / 255, counted["channel_mean"], atol=1e-6)
    np.testing.assert_allclose(pixels.std(axis=0) / 255, counted["channel_std"], atol=1e-6)
    assert whole.fingerprint == counted["data_fingerprint"]
    assert records.encode_classes(whole.test_labels) == counted["test_labels"]
    assert records.encode_classes(datasets.cifar10().validation_labels) == counted["validation_labels"]
    found = facts.nearest_class_mean(whole.train_images, whole.train_labels, whole.test_images)
    assert np.mean(found == whole.test_labels) == counted["nearest_class_mean_accuracy"]
    for test, train, correlation in counted["near_duplicates"]["test_train_correlation"][::20]:
        again = facts.most_alike(whole.train_images[[train]], whole.test_images[[test]])[1][0]
        assert again == pytest.approx(correlation, abs=1e-4)


@pytest.mark.slow
@pytest.mark.needs_cifar10
def test_all_facts_counted_anew_are_the_recorded_ones(counted):
    again = json.loads(files.to_json(facts.cifar10_facts()))
    pairs, recorded = (sorted(found["near_duplicates"]["test_train_correlation"]) for found in (again, counted))
    np.testing.assert_allclose(pairs, recorded, atol=1e-4)
    again["near_duplicates"]["test_train_correlation"] = counted["near_duplicates"]["test_train_correlation"]
    assert again == counted
