//! The stand-in of `librknnrt.so`, the runtime of RK35xx. Decides nothing: see the crate `stand-in`. Its file
//! has another name, so that programs that cargo starts do not take it for the machine's runtime.

stand_in::export_library!(stand_in::Kind::Rk, c"librknnrt version: 2.3.2 (stand-in)");
stand_in::export_cores!();
