//! The versions of toolkit, runtime and driver, which must fit together: what is known of them, and which to change. Never
//! asks the runtime itself.

use artifact::rknn::ToolkitVersion;
use rknn_sys::Runtime;

use super::failure::NpuFailure;
use crate::Error;

/// What an error message can name about versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Versions {
    /// Of the toolkit that compiled the model.
    pub(super) toolkit: Option<ToolkitVersion>,
    /// Of the runtime library, as its file or the library itself states it.
    pub(super) runtime: Option<String>,
    /// Of the kernel's driver.
    pub(super) driver: Option<String>,
    /// Which runtime library it is.
    pub(super) library: Runtime,
}

impl Versions {
    /// Refuses a runtime older than the model's toolkit, where both versions are known.
    pub(super) fn check(&self) -> Result<(), Error> {
        let runtime = self.runtime.as_ref().and_then(|text| text.parse().ok());
        match self.toolkit.zip(runtime) {
            Some((toolkit, runtime)) if toolkit > runtime => {
                let found = format!("the model is newer than the NPU runtime: {toolkit} and {runtime}");
                Err(NpuFailure::OldRuntime.during(&found, self))
            }
            _ => Ok(()),
        }
    }

    /// The three versions, and which of them to change.
    pub(super) fn hint(&self) -> String {
        let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".into());
        let toolkit = known(self.toolkit.map(|version| version.to_string()));
        let (runtime, driver) = (known(self.runtime.clone()), known(self.driver.clone()));
        let stated = format!(
            "The model is compiled by rknn-toolkit2 {toolkit}, the runtime is {runtime}, the driver {driver}"
        );
        let library = self.library.file_name();
        let newer = self.toolkit.zip(self.runtime.as_ref().and_then(|text| text.parse().ok()));
        match newer {
            Some((toolkit, runtime)) if toolkit > runtime => format!(
                "{stated}: update {library} on this board to {toolkit} or newer, or run on the CPU with `--backend tract`"
            ),
            Some(_) => format!(
                "{stated}: {library} is not older than the model, so look at the driver first: update the kernel's rknpu \
                 driver, or run on the CPU with `--backend tract`"
            ),
            None => format!(
                "{stated}: the runtime must be as new as the toolkit: update {library} on this board and, where that does \
                 not help, the kernel's rknpu driver"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_runtime_is_refused_where_versions_are_known() {
        let versions = |runtime: &str| Versions {
            toolkit: "2.3.2".parse().ok(),
            runtime: Some(runtime.into()),
            ..Versions::default()
        };
        versions("2.3.2").check().unwrap();
        versions("what?").check().unwrap();
        Versions::default().check().unwrap();
        let error = versions("1.5.2").check().unwrap_err();
        assert!(matches!(error, Error::Npu { failure: NpuFailure::OldRuntime, .. }));
        let text = error.to_string();
        assert!(text.contains("2.3.2") && text.contains("update librknnrt.so"), "{text}");
    }

    /// Whatever is known of them.
    #[test]
    fn it_is_said_which_to_change() {
        let hint = |runtime: Option<&str>, library| {
            let (toolkit, runtime) = ("2.3.2".parse().ok(), runtime.map(str::to_owned));
            Versions { toolkit, runtime, library, driver: None }.hint()
        };
        for runtime in ["2.3.2", "2.4.0 (abc)"] {
            let text = hint(Some(runtime), Runtime::Rknnmrt);
            assert!(text.contains("librknnmrt.so is not older"), "{text}");
            assert!(text.contains("update the kernel's rknpu driver"), "{text}");
        }
        for runtime in [None, Some("what?")] {
            let text = hint(runtime, Runtime::Rknnrt);
            assert!(text.contains("update librknnrt.so") && text.contains("rknpu driver"), "{text}");
        }
    }
}
