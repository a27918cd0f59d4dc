"""A step of JSIA from its formulas: plain loops, plain gradients, plain optimizers, in float64."""

import torch
from torch.nn import functional

GRAY = (0.2989, 0.5870, 0.1140)


class Reference:
    """Trains the networks of a game of float64 as the authors' code does, but with one backward pass a network.

    mean, std  of the loader's normalization, (3,)
    rates      of the content and instance players, and of the others; decays likewise
    """

    def __init__(self, game, mean, std, rates, decays):
        self.network, self.generators = game.network, game.exchange.generators
        self.discriminators = game.exchange.discriminators
        self.mean, self.std = (torch.tensor(values).double().view(3, 1, 1) for values in (mean, std))
        backbone, head = self.network.backbone, self.network.head
        first, later = [backbone.conv1, backbone.bn1, backbone.layer1], [backbone.layer2, backbone.layer3]
        groups = [
            [one for module in first for one in module.parameters()],
            [one for module in [*later, backbone.layer4, head] for one in module.parameters() if one.requires_grad],
            [one for generator in self.generators.values() for one in generator.parameters()],
            [one for discriminator in self.discriminators.values() for one in discriminator.parameters()],
        ]
        self.content_group, self.instance_group, self.generator_group, self.discriminator_group = groups
        adam = torch.optim.Adam
        self.optimizers = [
            *(adam(group, rates[0], (0.9, 0.999), weight_decay=decays[0]) for group in groups[:2]),
            *(adam(group, rates[1], (0.5, 0.999), weight_decay=decays[1]) for group in groups[2:]),
        ]

    def content(self, images):
        images = functional.interpolate(images, self.network.size, mode="bilinear", align_corners=False)
        gray = sum(weight * images[:, channel] for channel, weight in enumerate(GRAY))
        backbone = self.network.backbone
        return backbone.layer1(backbone.maxpool(backbone.bn1(backbone.conv1(torch.stack([gray] * 3, dim=1)))))

    def identify(self, images):
        backbone, head = self.network.backbone, self.network.head
        pooled = backbone.layer4(backbone.layer3(backbone.layer2(self.content(images)))).mean(dim=(2, 3))
        return pooled, head.classifier(head.neck(pooled))

    def generate(self, name, content, style):
        generator = self.generators[name]
        return generator.decoder(content, generator.norms(style))

    def image_losses(self, visible, infrared):
        v, i = (2 * (images * self.std + self.mean) - 1 for images in (visible, infrared))
        content_v, content_i = self.content(visible), self.content(infrared)
        style_v, style_i = self.generators["visible"].style(v), self.generators["infrared"].style(i)
        self.fake_v, self.fake_i = (
            self.generate("visible", content_i, style_v),
            self.generate("infrared", content_v, style_i),
        )
        of_fake_v, of_fake_i = self.content(self.back(self.fake_v)), self.content(self.back(self.fake_i))
        rec = l1(self.generate("visible", content_v, style_v), v) + l1(self.generate("infrared", content_i, style_i), i)
        cyc = l1(self.generate("visible", of_fake_i, style_v), v) + l1(self.generate("infrared", of_fake_v, style_i), i)
        feat = l1(of_fake_i, content_v) + l1(of_fake_v, content_i)
        feat = feat + l1(self.generators["visible"].style(self.fake_v), style_v)
        feat = feat + l1(self.generators["infrared"].style(self.fake_i), style_i)
        adv = told = 0
        for name, fake, real in (("visible", self.fake_v, v), ("infrared", self.fake_i, i)):
            adv = adv + sum(((out - 1) ** 2).mean() for out in self.discriminators[name](fake))
            told = told + sum((out**2).mean() for out in self.discriminators[name](fake.detach()))
            told = told + sum(((out - 1) ** 2).mean() for out in self.discriminators[name](real))
        self.reported = {"adversarial": adv, "reconstruction": rec, "cycle": cyc, "feature": feat}
        return adv + 10 * rec + 10 * cyc, feat, told

    def back(self, images):
        return ((images + 1) / 2 - self.mean) / self.std

    def pair_loss(self, visible, infrared):
        loss = 0
        for real, fake in ((visible, self.fake_i), (infrared, self.fake_v)):
            t = self.identify(real)[1].softmax(dim=1).detach()
            q = self.identify(self.back(fake.detach()))[1].softmax(dim=1)
            rows = []
            for q_row, t_row in zip(q, t, strict=True):
                terms = [
                    a * torch.log(1e-8 + a / (b + 1e-8)) + b * torch.log(1e-8 + b / (a + 1e-8))
                    for a, b in zip(t_row, q_row, strict=True)
                ]
                rows.append(sum(terms))
            loss = loss + sum(rows) / len(rows)
        return loss

    def reid_losses(self, visible, infrared, labels):
        (v, logits_v), (i, logits_i) = self.identify(visible), self.identify(infrared)
        identity = (smoothed(logits_v, labels) + smoothed(logits_i, labels)) / 2
        return identity, (hardest(v, i, labels) + hardest(i, v, labels)) / 2

    def warm_up(self, visible, infrared):
        images, feat, told = self.image_losses(visible, infrared)
        self.set(self.generator_group, images + feat, retain_graph=True)
        self.set(self.discriminator_group, told)
        self.step(*self.optimizers[2:])

    def joint(self, visible, infrared, reid_visible, reid_infrared, labels):
        images, feat, told = self.image_losses(visible, infrared)
        pair = self.pair_loss(visible, infrared)
        identity, triplet = self.reid_losses(reid_visible, reid_infrared, labels)
        self.reported |= {"pair": pair, "identity": identity, "triplet": triplet}
        self.set(self.generator_group, images + feat, retain_graph=True)
        self.set(self.discriminator_group, told)
        self.set(self.content_group, images + 0.01 * pair + identity + triplet, retain_graph=True)
        self.set(self.instance_group, 0.01 * pair + identity + triplet)
        self.step(*self.optimizers)

    def set(self, group, loss, **keywords):
        for parameter, gradient in zip(group, torch.autograd.grad(loss, group, **keywords), strict=True):
            parameter.grad = gradient

    def step(self, *optimizers):
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def l1(a, b):
    return (a - b).abs().sum() / a.numel()


def smoothed(logits, labels, smoothing=0.1):
    """Cross entropy with a target of 1 - s at the label and s / C more everywhere."""
    rows = []
    for row, label in zip(logits, labels, strict=True):
        log = row - torch.logsumexp(row, dim=0)
        rows.append(-(1 - smoothing) * log[label] - smoothing * log.sum() / len(row))
    return sum(rows) / len(rows)


def hardest(anchors, others, labels, margin=0.3):
    """The mean hinge of each anchor's furthest positive and nearest negative in the other modality."""
    rows = []
    for anchor, label in zip(anchors, labels, strict=True):
        distances = [((anchor - other) ** 2).sum().sqrt() for other in others]
        positive = max(distance for distance, found in zip(distances, labels, strict=True) if found == label)
        negative = min(distance for distance, found in zip(distances, labels, strict=True) if found != label)
        rows.append(torch.relu(margin + positive - negative))
    return sum(rows) / len(rows)
