//! Generated photos of things that people photograph for a shop.

use super::canvas::{Canvas, Colour, mix};

/// A table top with a light grain.
fn table(canvas: &mut Canvas, colour: Colour) {
    let height = canvas.height();
    canvas.gradient(
        0.0,
        height,
        mix(colour, [255; 3], 0.12),
        mix(colour, [0; 3], 0.12),
    );
    for _ in 0..40 {
        let (x, y, length) = (
            canvas.any(-200.0, 900.0),
            canvas.any(0.0, height),
            canvas.any(200.0, 700.0),
        );
        canvas.rectangle([x, y], [length, 2.5], mix(colour, [0; 3], 0.1));
    }
}

pub(super) fn ramen(canvas: &mut Canvas) {
    let wood = canvas.one_of(&[[150, 104, 70], [96, 70, 56], [186, 146, 104]]);
    table(canvas, wood);
    let (x, y, r) = (
        500.0,
        canvas.height() / 2.0,
        canvas.height().min(1000.0) * 0.42,
    );
    canvas.circle([x + 16.0, y + 22.0], r * 1.02, mix(wood, [0; 3], 0.45));
    canvas.circle([x, y], r, [36, 40, 58]);
    canvas.circle([x, y], r * 0.94, [236, 232, 222]);
    canvas.circle([x, y], r * 0.88, [196, 128, 58]);
    canvas.circle([x, y], r * 0.8, [212, 148, 74]);
    for strand in 0..16 {
        let shift = r * (0.05 * strand as f32 - 0.4);
        let bend = canvas.any(0.3, 0.6) * r;
        let turns = [0.55 + canvas.any(-0.06, 0.06), 0.95];
        canvas.arc(
            [x + shift * 0.4, y + shift + bend * 0.4],
            [r * 0.62, bend],
            turns,
            (r * 0.035, [246, 218, 140]),
        );
    }
    canvas.rectangle(
        [x + r * 0.28, y - r * 0.86],
        [r * 0.42, r * 0.56],
        [28, 44, 36],
    );
    for (dx, dy) in [(-0.38, -0.34), (-0.08, -0.46)] {
        let egg = [x + dx * r, y + dy * r];
        canvas.ellipse(egg, [r * 0.2, r * 0.15], [250, 244, 232]);
        canvas.circle(egg, r * 0.095, [240, 150, 40]);
    }
    for (dx, dy) in [(0.3, 0.3), (0.05, 0.46)] {
        canvas.circle([x + dx * r, y + dy * r], r * 0.22, [150, 84, 66]);
        canvas.circle([x + dx * r, y + dy * r], r * 0.17, [206, 140, 116]);
        canvas.arc(
            [x + dx * r, y + dy * r],
            [r * 0.1, r * 0.08],
            [0.1, 0.8],
            (r * 0.03, [238, 200, 178]),
        );
    }
    for _ in 0..26 {
        let leek = [x + canvas.any(-0.55, 0.1) * r, y + canvas.any(0.0, 0.5) * r];
        canvas.circle(leek, r * 0.034, [96, 160, 70]);
        canvas.circle(leek, r * 0.016, [206, 228, 160]);
    }
    for side in [-1.0, 1.0] {
        let stick = [
            [x + r * 1.12, y - r + side * 14.0],
            [x + r * 1.2 + side * 18.0, y + r],
        ];
        canvas.curve(&stick, 13.0, [120, 40, 36]);
    }
}

pub(super) fn coffee(canvas: &mut Canvas) {
    let top = canvas.one_of(&[[222, 210, 196], [120, 88, 66], [176, 190, 186]]);
    table(canvas, top);
    let (x, y, r) = (
        canvas.any(420.0, 580.0),
        canvas.height() / 2.0,
        canvas.height().min(1000.0) * 0.38,
    );
    canvas.circle([x + 14.0, y + 20.0], r, mix(top, [0; 3], 0.35));
    canvas.circle([x, y], r, [250, 248, 244]);
    canvas.circle([x, y], r * 0.93, [232, 228, 220]);
    canvas.curve(
        &[[x + r * 0.6, y - r * 0.1], [x + r * 0.98, y - r * 0.22]],
        r * 0.14,
        [250, 248, 244],
    );
    canvas.circle([x, y], r * 0.68, [252, 250, 247]);
    canvas.circle([x, y], r * 0.6, [110, 66, 40]);
    canvas.circle([x, y], r * 0.55, [166, 108, 66]);
    let foam = [246, 230, 206];
    for side in [-1.0, 1.0] {
        canvas.circle([x + side * r * 0.15, y - r * 0.12], r * 0.19, foam);
    }
    canvas.polygon(
        &[
            [x - r * 0.32, y - r * 0.03],
            [x + r * 0.32, y - r * 0.03],
            [x, y + r * 0.4],
        ],
        foam,
    );
    canvas.arc(
        [x, y - r * 0.1],
        [r * 0.3, r * 0.22],
        [0.05, 0.45],
        (r * 0.03, [186, 128, 84]),
    );
    canvas.curve(
        &[[x - r * 1.15, y - r * 0.6], [x - r * 1.05, y + r * 0.5]],
        r * 0.06,
        [190, 194, 200],
    );
    canvas.ellipse(
        [x - r * 1.16, y - r * 0.72],
        [r * 0.1, r * 0.17],
        [200, 204, 210],
    );
}

pub(super) fn bag(canvas: &mut Canvas) {
    let height = canvas.height();
    let backdrop = canvas.one_of(&[[232, 224, 214], [214, 226, 226], [240, 226, 222]]);
    canvas.gradient(0.0, height * 0.76, backdrop, mix(backdrop, [255; 3], 0.4));
    canvas.gradient(
        height * 0.76,
        height,
        mix(backdrop, [0; 3], 0.14),
        mix(backdrop, [0; 3], 0.05),
    );
    let (cloth, print) = canvas.one_of(&[
        ([238, 230, 208], [40, 80, 120]),
        ([44, 62, 80], [240, 210, 120]),
        ([196, 92, 70], [250, 236, 220]),
        ([110, 136, 104], [250, 246, 230]),
    ]);
    let (half, top, bottom) = (height.min(1000.0) * 0.3, height * 0.38, height * 0.86);
    canvas.ellipse(
        [510.0, bottom],
        [half * 1.25, height * 0.035],
        mix(backdrop, [0; 3], 0.3),
    );
    for (drop, colour) in [
        (0.0, mix(cloth, [0; 3], 0.35)),
        (24.0, mix(cloth, [0; 3], 0.12)),
    ] {
        canvas.arc(
            [500.0, top + drop],
            [half * 0.48, height * 0.27],
            [0.5, 1.0],
            (22.0, colour),
        );
    }
    let body = [
        [500.0 - half, top],
        [500.0 + half, top],
        [500.0 + half * 1.08, bottom],
        [500.0 - half * 1.08, bottom],
    ];
    canvas.polygon(&body, cloth);
    canvas.polygon(
        &[
            [500.0 + half * 0.8, top],
            [500.0 + half, top],
            [500.0 + half * 1.08, bottom],
            [500.0 + half * 0.92, bottom],
        ],
        mix(cloth, [0; 3], 0.1),
    );
    canvas.rectangle(
        [500.0 - half, top],
        [half * 2.0, 14.0],
        mix(cloth, [0; 3], 0.18),
    );
    let middle = (top + bottom) / 2.0 + 10.0;
    canvas.circle([500.0, middle], half * 0.44, print);
    for (x, tall) in [(-0.14, 0.3), (0.14, 0.2)] {
        let (x, foot) = (500.0 + x * half, middle + half * 0.2);
        canvas.polygon(
            &[
                [x - half * 0.2, foot],
                [x, foot - tall * half],
                [x + half * 0.2, foot],
            ],
            cloth,
        );
    }
}

pub(super) fn receipt(canvas: &mut Canvas) {
    let wood = canvas.one_of(&[[70, 60, 56], [128, 96, 72], [60, 74, 84]]);
    table(canvas, wood);
    let height = canvas.height();
    let (left, right, top, bottom) = (270.0, 730.0, height * 0.06, height * 0.95);
    let slip = |canvas: &mut Canvas, shift: f32, colour| {
        let mut edge = vec![[left + shift, top + shift], [right + shift, top + shift]];
        edge.extend((0..=23).rev().map(|tooth| {
            [
                left + shift + 20.0 * tooth as f32,
                bottom + shift + if tooth % 2 == 0 { 0.0 } else { 12.0 },
            ]
        }));
        canvas.polygon(&edge, colour);
    };
    slip(canvas, 14.0, mix(wood, [0; 3], 0.5));
    slip(canvas, 0.0, [250, 249, 245]);
    let ink = [92, 92, 100];
    canvas.rectangle([400.0, top + 40.0], [200.0, 26.0], [40, 40, 48]);
    canvas.rectangle([440.0, top + 80.0], [120.0, 10.0], ink);
    let mut y = top + 130.0;
    while y < bottom - 230.0 {
        let length = canvas.any(90.0, 230.0);
        let price = canvas.any(40.0, 80.0);
        canvas.rectangle([left + 36.0, y], [length, 11.0], ink);
        canvas.rectangle([right - 36.0 - price, y], [price, 11.0], ink);
        y += 36.0;
    }
    canvas.rectangle([left + 36.0, y], [right - left - 72.0, 3.0], ink);
    canvas.rectangle([left + 36.0, y + 24.0], [120.0, 24.0], [30, 30, 36]);
    canvas.rectangle([right - 156.0, y + 24.0], [120.0, 24.0], [30, 30, 36]);
    let mut x = left + 70.0;
    while x < right - 80.0 {
        let bar = canvas.one_of(&[3.0, 5.0, 9.0]);
        canvas.rectangle([x, bottom - 110.0], [bar, 64.0], [30, 30, 36]);
        x += bar + canvas.one_of(&[4.0, 7.0]);
    }
}

pub(super) fn parcel(canvas: &mut Canvas) {
    let height = canvas.height();
    canvas.gradient(0.0, height * 0.6, [214, 218, 220], [234, 236, 236]);
    canvas.gradient(height * 0.6, height, [150, 128, 108], [120, 98, 80]);
    let (left, right, top, bottom) = (190.0, 760.0, height * 0.34, height * 0.84);
    canvas.ellipse([520.0, bottom], [380.0, 26.0], [88, 70, 58]);
    let lid = [
        [left, top],
        [left + 110.0, top - 90.0],
        [right + 110.0, top - 90.0],
        [right, top],
    ];
    canvas.polygon(&lid, [216, 176, 128]);
    canvas.polygon(
        &[
            [right, top],
            [right + 110.0, top - 90.0],
            [right + 110.0, bottom - 90.0],
            [right, bottom],
        ],
        [158, 118, 78],
    );
    canvas.rectangle([left, top], [right - left, bottom - top], [194, 150, 102]);
    canvas.polygon(
        &[
            [440.0, top],
            [550.0, top - 90.0],
            [620.0, top - 90.0],
            [510.0, top],
        ],
        [226, 204, 166],
    );
    canvas.rectangle([440.0, top], [70.0, (bottom - top) * 0.32], [214, 186, 146]);
    canvas.rectangle(
        [left + 34.0, bottom - 150.0],
        [190.0, 112.0],
        [246, 246, 242],
    );
    for line in 0..4 {
        let length = canvas.any(80.0, 150.0);
        canvas.rectangle(
            [left + 50.0, bottom - 134.0 + 22.0 * line as f32],
            [length, 9.0],
            [80, 80, 88],
        );
    }
    let tear = [
        [right, top],
        [right - 120.0, top],
        [right - 84.0, top + 34.0],
        [right - 96.0, top + 66.0],
        [right - 40.0, top + 84.0],
        [right - 34.0, top + 128.0],
        [right, top + 140.0],
    ];
    canvas.polygon(&tear, [74, 54, 40]);
    canvas.curve(&tear[1..], 7.0, [232, 206, 168]);
}

pub(super) fn flowers(canvas: &mut Canvas) {
    let height = canvas.height();
    let wall = canvas.one_of(&[[238, 230, 236], [226, 236, 226], [240, 234, 216]]);
    canvas.gradient(0.0, height * 0.8, wall, mix(wall, [255; 3], 0.5));
    canvas.gradient(height * 0.8, height, [176, 140, 110], [150, 116, 90]);
    let neck = [500.0, height * 0.62];
    let petals = canvas.one_of(&[[232, 90, 120], [240, 160, 60], [130, 100, 200]]);
    for stem in 0..7 {
        let head = [220.0 + 93.0 * stem as f32, height * canvas.any(0.16, 0.42)];
        canvas.curve(
            &[
                neck,
                [(neck[0] + head[0]) / 2.0 + 10.0, (neck[1] + head[1]) / 2.0],
                head,
            ],
            9.0,
            [80, 130, 80],
        );
        canvas.ellipse(
            [(neck[0] + head[0]) / 2.0 + 36.0, (neck[1] + head[1]) / 2.0],
            [38.0, 15.0],
            [96, 150, 90],
        );
        for petal in 0..8 {
            let angle = petal as f32 / 8.0 * std::f32::consts::TAU;
            canvas.circle(
                [head[0] + 44.0 * angle.cos(), head[1] + 44.0 * angle.sin()],
                27.0,
                petals,
            );
        }
        canvas.circle(head, 25.0, [252, 220, 110]);
    }
    canvas.ellipse([505.0, height * 0.93], [150.0, 20.0], [120, 92, 72]);
    let glass = [120, 160, 180];
    let vase = [
        [430.0, neck[1]],
        [570.0, neck[1]],
        [620.0, height * 0.82],
        [580.0, height * 0.93],
        [420.0, height * 0.93],
        [380.0, height * 0.82],
    ];
    canvas.polygon(&vase, glass);
    canvas.curve(
        &[[420.0, height * 0.7], [408.0, height * 0.84]],
        12.0,
        mix(glass, [255; 3], 0.55),
    );
}
