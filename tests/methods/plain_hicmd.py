"""A step of Hi-CMD by its formulas, image by image: its own losses, torch's own optimizers."""

import copy

import torch

VISIBLE, INFRARED = "visible", "infrared"


def half_erased(images):
    """A random erasing that isn't random."""
    images = images.clone()
    images[:, :, :7] = 0
    return images


class Plain:
    """A step by the formulas, of copies of the networks."""

    def __init__(self, game):
        self.game = copy.deepcopy(game)
        self.network, self.decoder = self.game.network, self.game.decoder
        generators = [*self.network.prototypes.parameters(), *self.network.attributes.parameters()]
        generators += [*self.decoder.parameters()]
        adam = {"lr": 1e-4, "betas": (0.5, 0.999), "weight_decay": 1e-4}
        heads = (self.network.embedding, self.game.compared, self.game.classifier, self.network.body)
        rates = [{"params": [one for head in heads for one in head.parameters()]}]
        rates += [{"params": [self.network.alpha], "lr": 1e-5}]
        self.sides = {
            "generators": torch.optim.Adam(generators, **adam),
            "discriminators": torch.optim.Adam(self.game.discriminators.parameters(), **adam),
            "reid": torch.optim.SGD(rates, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4),
        }

    def descend(self, loss, *names):
        groups = [group["params"] for name in names for group in self.sides[name].param_groups]
        parameters = [parameter for group in groups for parameter in group]
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for name in names:
            self.sides[name].step()

    def code(self, images, modality):
        """Prototype, and style, pose and illumination, cut value by value."""
        prototype = self.network.prototypes[modality](images)
        rows = self.network.attributes[modality].backbone.forward_features(images).mean(dim=(2, 3))
        quarters = rows.chunk(2, dim=1)
        eighth = quarters[0].shape[1] // 4
        style = torch.stack([quarter[:, : 2 * eighth] for quarter in quarters], dim=1)
        pose = torch.stack([quarter[:, 2 * eighth : 3 * eighth] for quarter in quarters], dim=1)
        light = torch.stack([quarter[:, 3 * eighth :] for quarter in quarters], dim=1)
        return prototype, style, pose, light

    def decode(self, prototype, *attributes):
        return self.decoder(prototype, torch.cat(attributes, dim=2))

    def fakes(self, a, b):
        """x_ba, x_ab, x3_ba, x3_ab of the codes of a and b."""
        (p_a, style_a, pose_a, light_a), (p_b, style_b, pose_b, light_b) = a, b
        return (
            self.decode(p_b, style_b, pose_a, light_a),
            self.decode(p_a, style_a, pose_b, light_b),
            self.decode(p_b, style_b, pose_b, light_a),
            self.decode(p_a, style_a, pose_a, light_b),
        )

    def least_squares(self, modality, images, target):
        return sum(((output - target) ** 2).mean() for output in self.game.discriminators[modality](images))

    def discriminators_loss(self, a, b):
        with torch.no_grad():
            x_ba, x_ab, lit_ba, lit_ab = self.fakes(self.code(a, VISIBLE), self.code(b, INFRARED))
        total = 0
        for modality, fake, real in (
            (VISIBLE, x_ba, a),
            (INFRARED, x_ab, b),
            (VISIBLE, lit_ba, a),
            (INFRARED, lit_ab, b),
        ):
            total += self.least_squares(modality, fake, 0) + self.least_squares(modality, real, 1)
            real = real.clone().requires_grad_()
            for output in self.game.discriminators[modality](real):
                (gradient,) = torch.autograd.grad(output.sum(), real, create_graph=True)
                total += 0.01 * sum((row**2).sum() for row in gradient) / len(real)
        return 20 * total

    def image_loss(self, a, b, code_a, code_b, fakes):
        (p_a, style_a, pose_a, light_a), (p_b, style_b, pose_b, light_b) = code_a, code_b
        x_ba, x_ab, lit_ba, lit_ab = fakes
        s_a, s_b = (style_b, pose_a, light_a), (style_a, pose_b, light_b)
        p_of_ab, style_of_ab, pose_of_ab, light_of_ab = self.code(x_ab, INFRARED)
        p_of_ba, style_of_ba, pose_of_ba, light_of_ba = self.code(x_ba, VISIBLE)
        same = apart(self.decode(p_a, *s_a), a) + apart(self.decode(p_b, *s_b), b)
        cross = apart(x_ba, a) + apart(x_ab, b)
        cycle = apart(self.decode(p_of_ab, *s_a), a) + apart(self.decode(p_of_ba, *s_b), b)
        excluded = [torch.cat(pair, dim=2) for pair in ((pose_a, light_a), (pose_b, light_b))]
        of_fakes = [torch.cat(pair, dim=2) for pair in ((pose_of_ba, light_of_ba), (pose_of_ab, light_of_ab))]
        attributes = apart(of_fakes[0], excluded[0]) + apart(of_fakes[1], excluded[1])
        attributes = attributes + apart(style_of_ba, style_b) + apart(style_of_ab, style_a)
        small = sum((part**2).mean() for part in excluded)
        pairs = (VISIBLE, x_ba), (INFRARED, x_ab), (VISIBLE, lit_ba), (INFRARED, lit_ab)
        fooled = sum(self.least_squares(modality, image, 1) for modality, image in pairs)
        return 50 * (same + cross + cycle) + 10 * attributes + small + 20 * fooled

    def feature(self, shape, style):
        alpha, style = self.network.alpha, style.flatten(1)
        unit_shape, unit_style = (part / part.pow(2).sum(dim=1, keepdim=True).sqrt() for part in (shape, style))
        return torch.cat([alpha * unit_shape, (1 - alpha) * unit_style], dim=1)

    def reid_loss(self, x_ba, x_ab, data):
        """The eight groups of features, in their published order."""
        images, labels = data.images, data.label
        a, others_v, b, others_i = images[[0, 3]], images[[1, 4]], images[[6, 9]], images[[8, 11]]
        pair, of_v, of_i = labels[[0, 3]], labels[[1, 4]], labels[[2, 5]]

        def shape_and_style(images, modality):
            prototype, style, _, _ = self.code(half_erased(images), modality)
            return self.network.body(prototype).mean(dim=(2, 3)), style

        coded = {}
        for modality, real, fake, others in ((VISIBLE, a, x_ba, others_v), (INFRARED, b, x_ab, others_i)):
            coded[modality] = [shape_and_style(images, modality) for images in (real, fake.detach(), others)]
        groups, group_labels = [], []
        for place, label in ((0, pair), (1, pair)):
            for modality in (VISIBLE, INFRARED):
                groups.append(self.feature(*coded[modality][place]))
                group_labels.append(label)
        for modality, label in ((VISIBLE, of_v), (INFRARED, of_i)):
            groups.append(self.feature(*coded[modality][2]))
            group_labels.append(label)
        for modality in (VISIBLE, INFRARED):
            (shape, style), (fake_shape, fake_style), _ = coded[modality]
            groups.append(torch.cat([self.feature(shape, fake_style), self.feature(fake_shape, style)]))
            group_labels.append(torch.cat([pair, pair]))
        rows, row_labels = torch.cat(groups), torch.cat(group_labels)
        assert len(rows) == 20
        f1 = self.network.embedding(rows)
        logits = self.game.classifier(f1)
        cross_entropy = (
            sum(row.exp().sum().log() - row[label] for row, label in zip(logits, row_labels, strict=True)) / 20
        )
        compared = self.game.compared(f1)
        starts = [0, 2, 4, 6, 8, 10, 12, 16, 20]
        members = [list(range(start, end)) for start, end in zip(starts, starts[1:], strict=False)]
        of_visible, of_infrared = members[0] + members[2] + members[6], members[1] + members[3] + members[7]
        triplet = sum(triplet_loop(compared, row_labels, anchors) for anchors in (of_visible, of_infrared))
        return cross_entropy + triplet

    def step(self, data):
        """The losses of both moves."""
        a, b = data.images[[0, 3]], data.images[[6, 9]]
        told = self.discriminators_loss(a, b)
        self.descend(told, "discriminators")
        code_a, code_b = self.code(a, VISIBLE), self.code(b, INFRARED)
        fakes = self.fakes(code_a, code_b)
        loss = self.image_loss(a, b, code_a, code_b, fakes) + self.reid_loss(fakes[0], fakes[1], data)
        self.descend(loss, "generators", "reid")
        return told.detach(), loss.detach()


def apart(x, y):
    return (x - y).abs().sum() / x.numel()


def triplet_loop(rows, labels, anchors, margin=0.5):
    """The pulled triplet loss over anchors, by the hardest of all rows."""
    rows = rows / rows.pow(2).sum(dim=1, keepdim=True).sqrt()
    total = 0
    for anchor in anchors:
        cosines = [rows[anchor] @ row for row in rows]
        positive = min(
            (one for one, y in zip(cosines, labels, strict=True) if y == labels[anchor]), key=torch.Tensor.item
        )
        negative = max(
            (one for one, y in zip(cosines, labels, strict=True) if y != labels[anchor]), key=torch.Tensor.item
        )
        total += torch.relu(negative - positive + margin) + (1 + negative) ** 2 + (1 - positive) ** 2
    return total / len(anchors)
