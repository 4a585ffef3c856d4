"""Handwritten digits in plain PyTorch. Only the import of nn differs from an ordinary script.

MNIST is read from <root>/MNIST/raw; if it is absent, scikit-learn's small digits (8 x 8) are used.
"""

import argparse

import torch

import manual_backprop.nn as nn  # in place of torch.nn

Split = tuple[torch.Tensor, torch.Tensor]  # images (N, pixels) in 0 .. 1, labels (N,)


def load(root: str) -> tuple[str, Split, Split]:
    """Name of the dataset, the training split, the test split."""
    try:
        from torchvision.datasets import MNIST

        train, test = ((part.data.flatten(1) / 255, part.targets) for part in (MNIST(root), MNIST(root, train=False)))
        return "MNIST", train, test
    except (ImportError, RuntimeError):  # torchvision or the files are not there
        from sklearn.datasets import load_digits

        images, labels = map(torch.from_numpy, load_digits(return_X_y=True))
        images, order = images.float() / 16, torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        return "digits", *((images[part], labels[part]) for part in (order[360:], order[:360]))


def main(argv: list[str] | None = None) -> dict[str, object]:
    """Train, test; returns the accuracy and the dataset's name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="data", help="folder that holds MNIST/raw")
    name, (images, labels), (test_images, test_labels) = load(parser.parse_args(argv).root)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(images.shape[1], 256), nn.ReLU(), nn.Linear(256, 10))
    loss_of, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(3 if name == "MNIST" else 30):
        total = 0.0
        for batch in torch.randperm(len(images)).split(100):
            optimizer.zero_grad()
            loss = loss_of(net(images[batch]), labels[batch])
            loss.backward()  # each step runs a rule of manual_backprop
            optimizer.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1}: training loss {total / len(images):.4f}")
    with torch.no_grad():
        accuracy = (net(test_images).argmax(1) == test_labels).double().mean().item()
    print(f"{name}: {accuracy:.2%} of {len(test_labels)} test images right, after {images.shape[0]} for training")
    return {"accuracy": accuracy, "dataset": name}


if __name__ == "__main__":
    main()
