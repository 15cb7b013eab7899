//! The stand-in of `librknnmrt.so`, the runtime of RV110x, which has neither cores to choose from nor copied inputs and
//! outputs. Decides nothing: see the crate `stand-in`. Its file
//! has another name, so that programs that cargo starts do not take it for the machine's runtime.

stand_in::export_library!(stand_in::Kind::Rv, c"librknnmrt version: 2.3.2 (stand-in)");
