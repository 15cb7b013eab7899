//! A random model and images to calibrate it on, drawn once for a test.

use std::path::Path;

use artifact::{Tensor, TensorData};
use repedge::backend::Session;
use repedge::frame::{Image, write_png};
use tempfile::TempDir;
use train_host::evaluate::Progress;
use train_host::fuse::fuse;
use train_host::model::{Activation, FusedModel, Overrides};
use train_host::quantize::{Images, Observations, observe};

use super::{noise, random_model};

/// A fused random model, images, and what was observed on them.
pub struct Calibrated {
    pub model: FusedModel,
    pub images: Images,
    pub observed: Observations,
    _folder: TempDir,
}

/// `name` with activation `act` over random weights, calibrated on four images of noise and waves.
pub fn calibrated(name: &str, act: Activation, imgsz: usize) -> Calibrated {
    let model = fused(name, act, imgsz);
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), imgsz);
    let observed = observe(&model, &images).unwrap();
    Calibrated { model, images, observed, _folder: folder }
}

/// `name` with activation `act` over random weights, fused.
pub fn fused(name: &str, act: Activation, imgsz: usize) -> FusedModel {
    fuse(&random_model(name, &Overrides { act: Some(act), block: None }, 2, imgsz)).unwrap()
}

/// Writes four images of `side_px` into `folder`.
pub fn images(folder: &Path, side_px: usize) -> Images {
    for index in 0..4 {
        let bytes = noise(side_px * side_px * 3, index).into_iter().enumerate().map(|(at, value)| {
            let wave = ((at / 3 % side_px) as f32 * 0.2 * (index + 1) as f32).sin();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
            let pixel = (127.5 + 60.0 * wave + 120.0 * (value - 0.5)) as u8;
            pixel
        });
        let image = Image { width_px: side_px, height_px: side_px, rgb: bytes.collect() };
        write_png(&folder.join(format!("{index}.png")), &image).unwrap();
    }
    Images::in_folder(folder, Progress::Hidden).unwrap()
}

/// The float input of `imgsz` pixels whose pixels are drawn from `seed`: each a whole number of 255ths.
pub fn pixels(imgsz: usize, seed: u64) -> Tensor {
    let data =
        noise(3 * imgsz * imgsz, seed).into_iter().map(|value| (value * 255.0).round() / 255.0).collect();
    Tensor {
        shape: [1, 3, imgsz, imgsz],
        layout: artifact::Layout::Nchw,
        quant: None,
        data: TensorData::F32(data),
    }
}

/// Outputs of `session` for `image`.
pub fn outputs(session: &mut impl Session, image: &Tensor) -> Vec<Tensor> {
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(image, &mut outputs).unwrap();
    outputs
}
