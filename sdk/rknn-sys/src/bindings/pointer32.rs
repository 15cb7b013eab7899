//! Generated from abi/abi.h by `cargo xtask codegen` for machines of 32-bit pointers; never edited.

pub const RKNN_FLAG_PRIOR_HIGH: u32 = 0;
pub const RKNN_FLAG_PRIOR_MEDIUM: u32 = 1;
pub const RKNN_FLAG_PRIOR_LOW: u32 = 2;
pub const RKNN_FLAG_ASYNC_MASK: u32 = 4;
pub const RKNN_FLAG_COLLECT_PERF_MASK: u32 = 8;
pub const RKNN_FLAG_MEM_ALLOC_OUTSIDE: u32 = 16;
pub const RKNN_FLAG_SHARE_WEIGHT_MEM: u32 = 32;
pub const RKNN_FLAG_FENCE_IN_OUTSIDE: u32 = 64;
pub const RKNN_FLAG_FENCE_OUT_OUTSIDE: u32 = 128;
pub const RKNN_FLAG_COLLECT_MODEL_INFO_ONLY: u32 = 256;
pub const RKNN_FLAG_INTERNAL_ALLOC_OUTSIDE: u32 = 512;
pub const RKNN_FLAG_EXECUTE_FALLBACK_PRIOR_DEVICE_GPU: u32 = 1024;
pub const RKNN_FLAG_ENABLE_SRAM: u32 = 2048;
pub const RKNN_FLAG_SHARE_SRAM: u32 = 4096;
pub const RKNN_FLAG_DISABLE_PROC_HIGH_PRIORITY: u32 = 8192;
pub const RKNN_FLAG_DISABLE_FLUSH_INPUT_MEM_CACHE: u32 = 16384;
pub const RKNN_FLAG_DISABLE_FLUSH_OUTPUT_MEM_CACHE: u32 = 32768;
pub const RKNN_FLAG_MODEL_BUFFER_ZERO_COPY: u32 = 65536;
pub const RKNN_MEM_FLAG_ALLOC_NO_CONTEXT: u32 = 131072;
pub const RKNN_SUCC: u32 = 0;
pub const RKNN_ERR_FAIL: i32 = -1;
pub const RKNN_ERR_TIMEOUT: i32 = -2;
pub const RKNN_ERR_DEVICE_UNAVAILABLE: i32 = -3;
pub const RKNN_ERR_MALLOC_FAIL: i32 = -4;
pub const RKNN_ERR_PARAM_INVALID: i32 = -5;
pub const RKNN_ERR_MODEL_INVALID: i32 = -6;
pub const RKNN_ERR_CTX_INVALID: i32 = -7;
pub const RKNN_ERR_INPUT_INVALID: i32 = -8;
pub const RKNN_ERR_OUTPUT_INVALID: i32 = -9;
pub const RKNN_ERR_DEVICE_UNMATCH: i32 = -10;
pub const RKNN_ERR_INCOMPATILE_PRE_COMPILE_MODEL: i32 = -11;
pub const RKNN_ERR_INCOMPATILE_OPTIMIZATION_LEVEL_VERSION: i32 = -12;
pub const RKNN_ERR_TARGET_PLATFORM_UNMATCH: i32 = -13;
pub const RKNN_MAX_DIMS: u32 = 16;
pub const RKNN_MAX_NAME_LEN: u32 = 256;
pub const RKNN_MAX_DYNAMIC_SHAPE_NUM: u32 = 512;
pub type rknn_context = u32;
impl rknn_query_cmd {
    pub const RKNN_QUERY_IN_OUT_NUM: rknn_query_cmd = rknn_query_cmd(0);
    pub const RKNN_QUERY_INPUT_ATTR: rknn_query_cmd = rknn_query_cmd(1);
    pub const RKNN_QUERY_OUTPUT_ATTR: rknn_query_cmd = rknn_query_cmd(2);
    pub const RKNN_QUERY_PERF_DETAIL: rknn_query_cmd = rknn_query_cmd(3);
    pub const RKNN_QUERY_PERF_RUN: rknn_query_cmd = rknn_query_cmd(4);
    pub const RKNN_QUERY_SDK_VERSION: rknn_query_cmd = rknn_query_cmd(5);
    pub const RKNN_QUERY_MEM_SIZE: rknn_query_cmd = rknn_query_cmd(6);
    pub const RKNN_QUERY_CUSTOM_STRING: rknn_query_cmd = rknn_query_cmd(7);
    pub const RKNN_QUERY_NATIVE_INPUT_ATTR: rknn_query_cmd = rknn_query_cmd(8);
    pub const RKNN_QUERY_NATIVE_OUTPUT_ATTR: rknn_query_cmd = rknn_query_cmd(9);
    pub const RKNN_QUERY_NATIVE_NHWC_INPUT_ATTR: rknn_query_cmd = rknn_query_cmd(10);
    pub const RKNN_QUERY_NATIVE_NHWC_OUTPUT_ATTR: rknn_query_cmd = rknn_query_cmd(11);
    pub const RKNN_QUERY_DEVICE_MEM_INFO: rknn_query_cmd = rknn_query_cmd(12);
    pub const RKNN_QUERY_INPUT_DYNAMIC_RANGE: rknn_query_cmd = rknn_query_cmd(13);
    pub const RKNN_QUERY_CURRENT_INPUT_ATTR: rknn_query_cmd = rknn_query_cmd(14);
    pub const RKNN_QUERY_CURRENT_OUTPUT_ATTR: rknn_query_cmd = rknn_query_cmd(15);
    pub const RKNN_QUERY_CURRENT_NATIVE_INPUT_ATTR: rknn_query_cmd = rknn_query_cmd(16);
    pub const RKNN_QUERY_CURRENT_NATIVE_OUTPUT_ATTR: rknn_query_cmd = rknn_query_cmd(17);
}
#[repr(transparent)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub struct rknn_query_cmd(pub ::std::os::raw::c_uint);
impl rknn_tensor_type {
    pub const RKNN_TENSOR_FLOAT32: rknn_tensor_type = rknn_tensor_type(0);
    pub const RKNN_TENSOR_FLOAT16: rknn_tensor_type = rknn_tensor_type(1);
    pub const RKNN_TENSOR_INT8: rknn_tensor_type = rknn_tensor_type(2);
    pub const RKNN_TENSOR_UINT8: rknn_tensor_type = rknn_tensor_type(3);
    pub const RKNN_TENSOR_INT16: rknn_tensor_type = rknn_tensor_type(4);
    pub const RKNN_TENSOR_UINT16: rknn_tensor_type = rknn_tensor_type(5);
    pub const RKNN_TENSOR_INT32: rknn_tensor_type = rknn_tensor_type(6);
    pub const RKNN_TENSOR_UINT32: rknn_tensor_type = rknn_tensor_type(7);
    pub const RKNN_TENSOR_INT64: rknn_tensor_type = rknn_tensor_type(8);
    pub const RKNN_TENSOR_BOOL: rknn_tensor_type = rknn_tensor_type(9);
    pub const RKNN_TENSOR_INT4: rknn_tensor_type = rknn_tensor_type(10);
    pub const RKNN_TENSOR_BFLOAT16: rknn_tensor_type = rknn_tensor_type(11);
}
#[repr(transparent)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub struct rknn_tensor_type(pub ::std::os::raw::c_uint);
impl rknn_tensor_qnt_type {
    pub const RKNN_TENSOR_QNT_NONE: rknn_tensor_qnt_type = rknn_tensor_qnt_type(0);
    pub const RKNN_TENSOR_QNT_DFP: rknn_tensor_qnt_type = rknn_tensor_qnt_type(1);
    pub const RKNN_TENSOR_QNT_AFFINE_ASYMMETRIC: rknn_tensor_qnt_type = rknn_tensor_qnt_type(2);
}
#[repr(transparent)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub struct rknn_tensor_qnt_type(pub ::std::os::raw::c_uint);
impl rknn_tensor_format {
    pub const RKNN_TENSOR_NCHW: rknn_tensor_format = rknn_tensor_format(0);
    pub const RKNN_TENSOR_NHWC: rknn_tensor_format = rknn_tensor_format(1);
    pub const RKNN_TENSOR_NC1HWC2: rknn_tensor_format = rknn_tensor_format(2);
    pub const RKNN_TENSOR_UNDEFINED: rknn_tensor_format = rknn_tensor_format(3);
}
#[repr(transparent)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub struct rknn_tensor_format(pub ::std::os::raw::c_uint);
impl rknn_core_mask {
    pub const RKNN_NPU_CORE_AUTO: rknn_core_mask = rknn_core_mask(0);
    pub const RKNN_NPU_CORE_0: rknn_core_mask = rknn_core_mask(1);
    pub const RKNN_NPU_CORE_1: rknn_core_mask = rknn_core_mask(2);
    pub const RKNN_NPU_CORE_2: rknn_core_mask = rknn_core_mask(4);
    pub const RKNN_NPU_CORE_0_1: rknn_core_mask = rknn_core_mask(3);
    pub const RKNN_NPU_CORE_0_1_2: rknn_core_mask = rknn_core_mask(7);
    pub const RKNN_NPU_CORE_ALL: rknn_core_mask = rknn_core_mask(65535);
}
#[repr(transparent)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub struct rknn_core_mask(pub ::std::os::raw::c_uint);
impl rknn_tensor_mem_flags {
    pub const RKNN_TENSOR_MEMORY_FLAGS_ALLOC_INSIDE: rknn_tensor_mem_flags = rknn_tensor_mem_flags(1);
    pub const RKNN_TENSOR_MEMORY_FLAGS_FROM_FD: rknn_tensor_mem_flags = rknn_tensor_mem_flags(2);
    pub const RKNN_TENSOR_MEMORY_FLAGS_FROM_PHYS: rknn_tensor_mem_flags = rknn_tensor_mem_flags(3);
}
#[repr(transparent)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub struct rknn_tensor_mem_flags(pub ::std::os::raw::c_uint);
impl rknn_mem_alloc_flags {
    pub const RKNN_FLAG_MEMORY_FLAGS_DEFAULT: rknn_mem_alloc_flags = rknn_mem_alloc_flags(0);
    pub const RKNN_FLAG_MEMORY_CACHEABLE: rknn_mem_alloc_flags = rknn_mem_alloc_flags(1);
    pub const RKNN_FLAG_MEMORY_NON_CACHEABLE: rknn_mem_alloc_flags = rknn_mem_alloc_flags(2);
    pub const RKNN_FLAG_MEMORY_TRY_ALLOC_SRAM: rknn_mem_alloc_flags = rknn_mem_alloc_flags(4);
}
#[repr(transparent)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub struct rknn_mem_alloc_flags(pub ::std::os::raw::c_uint);
impl rknn_mem_sync_mode {
    pub const RKNN_MEMORY_SYNC_TO_DEVICE: rknn_mem_sync_mode = rknn_mem_sync_mode(1);
    pub const RKNN_MEMORY_SYNC_FROM_DEVICE: rknn_mem_sync_mode = rknn_mem_sync_mode(2);
    pub const RKNN_MEMORY_SYNC_BIDIRECTIONAL: rknn_mem_sync_mode = rknn_mem_sync_mode(3);
}
#[repr(transparent)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub struct rknn_mem_sync_mode(pub ::std::os::raw::c_uint);
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct rknn_input_output_num {
    pub n_input: u32,
    pub n_output: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_input_output_num"][::std::mem::size_of::<rknn_input_output_num>() - 8usize];
    ["Alignment of rknn_input_output_num"][::std::mem::align_of::<rknn_input_output_num>() - 4usize];
    ["Offset of field: rknn_input_output_num::n_input"]
        [::std::mem::offset_of!(rknn_input_output_num, n_input) - 0usize];
    ["Offset of field: rknn_input_output_num::n_output"]
        [::std::mem::offset_of!(rknn_input_output_num, n_output) - 4usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_tensor_attr {
    pub index: u32,
    pub n_dims: u32,
    pub dims: [u32; 16usize],
    pub name: [::std::os::raw::c_char; 256usize],
    pub n_elems: u32,
    pub size: u32,
    pub fmt: rknn_tensor_format,
    pub type_: rknn_tensor_type,
    pub qnt_type: rknn_tensor_qnt_type,
    pub fl: i8,
    pub zp: i32,
    pub scale: f32,
    pub w_stride: u32,
    pub size_with_stride: u32,
    pub pass_through: u8,
    pub h_stride: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_tensor_attr"][::std::mem::size_of::<rknn_tensor_attr>() - 376usize];
    ["Alignment of rknn_tensor_attr"][::std::mem::align_of::<rknn_tensor_attr>() - 4usize];
    ["Offset of field: rknn_tensor_attr::index"][::std::mem::offset_of!(rknn_tensor_attr, index) - 0usize];
    ["Offset of field: rknn_tensor_attr::n_dims"][::std::mem::offset_of!(rknn_tensor_attr, n_dims) - 4usize];
    ["Offset of field: rknn_tensor_attr::dims"][::std::mem::offset_of!(rknn_tensor_attr, dims) - 8usize];
    ["Offset of field: rknn_tensor_attr::name"][::std::mem::offset_of!(rknn_tensor_attr, name) - 72usize];
    ["Offset of field: rknn_tensor_attr::n_elems"]
        [::std::mem::offset_of!(rknn_tensor_attr, n_elems) - 328usize];
    ["Offset of field: rknn_tensor_attr::size"][::std::mem::offset_of!(rknn_tensor_attr, size) - 332usize];
    ["Offset of field: rknn_tensor_attr::fmt"][::std::mem::offset_of!(rknn_tensor_attr, fmt) - 336usize];
    ["Offset of field: rknn_tensor_attr::type_"][::std::mem::offset_of!(rknn_tensor_attr, type_) - 340usize];
    ["Offset of field: rknn_tensor_attr::qnt_type"]
        [::std::mem::offset_of!(rknn_tensor_attr, qnt_type) - 344usize];
    ["Offset of field: rknn_tensor_attr::fl"][::std::mem::offset_of!(rknn_tensor_attr, fl) - 348usize];
    ["Offset of field: rknn_tensor_attr::zp"][::std::mem::offset_of!(rknn_tensor_attr, zp) - 352usize];
    ["Offset of field: rknn_tensor_attr::scale"][::std::mem::offset_of!(rknn_tensor_attr, scale) - 356usize];
    ["Offset of field: rknn_tensor_attr::w_stride"]
        [::std::mem::offset_of!(rknn_tensor_attr, w_stride) - 360usize];
    ["Offset of field: rknn_tensor_attr::size_with_stride"]
        [::std::mem::offset_of!(rknn_tensor_attr, size_with_stride) - 364usize];
    ["Offset of field: rknn_tensor_attr::pass_through"]
        [::std::mem::offset_of!(rknn_tensor_attr, pass_through) - 368usize];
    ["Offset of field: rknn_tensor_attr::h_stride"]
        [::std::mem::offset_of!(rknn_tensor_attr, h_stride) - 372usize];
};
impl Default for rknn_tensor_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_input_range {
    pub index: u32,
    pub shape_number: u32,
    pub fmt: rknn_tensor_format,
    pub name: [::std::os::raw::c_char; 256usize],
    pub dyn_range: [[u32; 16usize]; 512usize],
    pub n_dims: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_input_range"][::std::mem::size_of::<rknn_input_range>() - 33040usize];
    ["Alignment of rknn_input_range"][::std::mem::align_of::<rknn_input_range>() - 4usize];
    ["Offset of field: rknn_input_range::index"][::std::mem::offset_of!(rknn_input_range, index) - 0usize];
    ["Offset of field: rknn_input_range::shape_number"]
        [::std::mem::offset_of!(rknn_input_range, shape_number) - 4usize];
    ["Offset of field: rknn_input_range::fmt"][::std::mem::offset_of!(rknn_input_range, fmt) - 8usize];
    ["Offset of field: rknn_input_range::name"][::std::mem::offset_of!(rknn_input_range, name) - 12usize];
    ["Offset of field: rknn_input_range::dyn_range"]
        [::std::mem::offset_of!(rknn_input_range, dyn_range) - 268usize];
    ["Offset of field: rknn_input_range::n_dims"]
        [::std::mem::offset_of!(rknn_input_range, n_dims) - 33036usize];
};
impl Default for rknn_input_range {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_perf_detail {
    pub perf_data: *mut ::std::os::raw::c_char,
    pub data_len: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_perf_detail"][::std::mem::size_of::<rknn_perf_detail>() - 16usize];
    ["Alignment of rknn_perf_detail"][::std::mem::align_of::<rknn_perf_detail>() - 8usize];
    ["Offset of field: rknn_perf_detail::perf_data"]
        [::std::mem::offset_of!(rknn_perf_detail, perf_data) - 0usize];
    ["Offset of field: rknn_perf_detail::data_len"]
        [::std::mem::offset_of!(rknn_perf_detail, data_len) - 8usize];
};
impl Default for rknn_perf_detail {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct rknn_perf_run {
    pub run_duration: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_perf_run"][::std::mem::size_of::<rknn_perf_run>() - 8usize];
    ["Alignment of rknn_perf_run"][::std::mem::align_of::<rknn_perf_run>() - 8usize];
    ["Offset of field: rknn_perf_run::run_duration"]
        [::std::mem::offset_of!(rknn_perf_run, run_duration) - 0usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_sdk_version {
    pub api_version: [::std::os::raw::c_char; 256usize],
    pub drv_version: [::std::os::raw::c_char; 256usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_sdk_version"][::std::mem::size_of::<rknn_sdk_version>() - 512usize];
    ["Alignment of rknn_sdk_version"][::std::mem::align_of::<rknn_sdk_version>() - 1usize];
    ["Offset of field: rknn_sdk_version::api_version"]
        [::std::mem::offset_of!(rknn_sdk_version, api_version) - 0usize];
    ["Offset of field: rknn_sdk_version::drv_version"]
        [::std::mem::offset_of!(rknn_sdk_version, drv_version) - 256usize];
};
impl Default for rknn_sdk_version {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct rknn_mem_size {
    pub total_weight_size: u32,
    pub total_internal_size: u32,
    pub total_dma_allocated_size: u64,
    pub total_sram_size: u32,
    pub free_sram_size: u32,
    pub reserved: [u32; 10usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_mem_size"][::std::mem::size_of::<rknn_mem_size>() - 64usize];
    ["Alignment of rknn_mem_size"][::std::mem::align_of::<rknn_mem_size>() - 8usize];
    ["Offset of field: rknn_mem_size::total_weight_size"]
        [::std::mem::offset_of!(rknn_mem_size, total_weight_size) - 0usize];
    ["Offset of field: rknn_mem_size::total_internal_size"]
        [::std::mem::offset_of!(rknn_mem_size, total_internal_size) - 4usize];
    ["Offset of field: rknn_mem_size::total_dma_allocated_size"]
        [::std::mem::offset_of!(rknn_mem_size, total_dma_allocated_size) - 8usize];
    ["Offset of field: rknn_mem_size::total_sram_size"]
        [::std::mem::offset_of!(rknn_mem_size, total_sram_size) - 16usize];
    ["Offset of field: rknn_mem_size::free_sram_size"]
        [::std::mem::offset_of!(rknn_mem_size, free_sram_size) - 20usize];
    ["Offset of field: rknn_mem_size::reserved"][::std::mem::offset_of!(rknn_mem_size, reserved) - 24usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_custom_string {
    pub string: [::std::os::raw::c_char; 1024usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_custom_string"][::std::mem::size_of::<rknn_custom_string>() - 1024usize];
    ["Alignment of rknn_custom_string"][::std::mem::align_of::<rknn_custom_string>() - 1usize];
    ["Offset of field: rknn_custom_string::string"]
        [::std::mem::offset_of!(rknn_custom_string, string) - 0usize];
};
impl Default for rknn_custom_string {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_tensor_mem {
    pub virt_addr: *mut ::std::os::raw::c_void,
    pub phys_addr: u64,
    pub fd: i32,
    pub offset: i32,
    pub size: u32,
    pub flags: u32,
    pub priv_data: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_tensor_mem"][::std::mem::size_of::<rknn_tensor_mem>() - 40usize];
    ["Alignment of rknn_tensor_mem"][::std::mem::align_of::<rknn_tensor_mem>() - 8usize];
    ["Offset of field: rknn_tensor_mem::virt_addr"]
        [::std::mem::offset_of!(rknn_tensor_mem, virt_addr) - 0usize];
    ["Offset of field: rknn_tensor_mem::phys_addr"]
        [::std::mem::offset_of!(rknn_tensor_mem, phys_addr) - 8usize];
    ["Offset of field: rknn_tensor_mem::fd"][::std::mem::offset_of!(rknn_tensor_mem, fd) - 16usize];
    ["Offset of field: rknn_tensor_mem::offset"][::std::mem::offset_of!(rknn_tensor_mem, offset) - 20usize];
    ["Offset of field: rknn_tensor_mem::size"][::std::mem::offset_of!(rknn_tensor_mem, size) - 24usize];
    ["Offset of field: rknn_tensor_mem::flags"][::std::mem::offset_of!(rknn_tensor_mem, flags) - 28usize];
    ["Offset of field: rknn_tensor_mem::priv_data"]
        [::std::mem::offset_of!(rknn_tensor_mem, priv_data) - 32usize];
};
impl Default for rknn_tensor_mem {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_input {
    pub index: u32,
    pub buf: *mut ::std::os::raw::c_void,
    pub size: u32,
    pub pass_through: u8,
    pub type_: rknn_tensor_type,
    pub fmt: rknn_tensor_format,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_input"][::std::mem::size_of::<rknn_input>() - 24usize];
    ["Alignment of rknn_input"][::std::mem::align_of::<rknn_input>() - 4usize];
    ["Offset of field: rknn_input::index"][::std::mem::offset_of!(rknn_input, index) - 0usize];
    ["Offset of field: rknn_input::buf"][::std::mem::offset_of!(rknn_input, buf) - 4usize];
    ["Offset of field: rknn_input::size"][::std::mem::offset_of!(rknn_input, size) - 8usize];
    ["Offset of field: rknn_input::pass_through"][::std::mem::offset_of!(rknn_input, pass_through) - 12usize];
    ["Offset of field: rknn_input::type_"][::std::mem::offset_of!(rknn_input, type_) - 16usize];
    ["Offset of field: rknn_input::fmt"][::std::mem::offset_of!(rknn_input, fmt) - 20usize];
};
impl Default for rknn_input {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_output {
    pub want_float: u8,
    pub is_prealloc: u8,
    pub index: u32,
    pub buf: *mut ::std::os::raw::c_void,
    pub size: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_output"][::std::mem::size_of::<rknn_output>() - 16usize];
    ["Alignment of rknn_output"][::std::mem::align_of::<rknn_output>() - 4usize];
    ["Offset of field: rknn_output::want_float"][::std::mem::offset_of!(rknn_output, want_float) - 0usize];
    ["Offset of field: rknn_output::is_prealloc"][::std::mem::offset_of!(rknn_output, is_prealloc) - 1usize];
    ["Offset of field: rknn_output::index"][::std::mem::offset_of!(rknn_output, index) - 4usize];
    ["Offset of field: rknn_output::buf"][::std::mem::offset_of!(rknn_output, buf) - 8usize];
    ["Offset of field: rknn_output::size"][::std::mem::offset_of!(rknn_output, size) - 12usize];
};
impl Default for rknn_output {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_init_extend {
    pub ctx: rknn_context,
    pub real_model_offset: i32,
    pub real_model_size: u32,
    pub model_buffer_fd: i32,
    pub model_buffer_flags: u32,
    pub reserved: [u8; 112usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_init_extend"][::std::mem::size_of::<rknn_init_extend>() - 132usize];
    ["Alignment of rknn_init_extend"][::std::mem::align_of::<rknn_init_extend>() - 4usize];
    ["Offset of field: rknn_init_extend::ctx"][::std::mem::offset_of!(rknn_init_extend, ctx) - 0usize];
    ["Offset of field: rknn_init_extend::real_model_offset"]
        [::std::mem::offset_of!(rknn_init_extend, real_model_offset) - 4usize];
    ["Offset of field: rknn_init_extend::real_model_size"]
        [::std::mem::offset_of!(rknn_init_extend, real_model_size) - 8usize];
    ["Offset of field: rknn_init_extend::model_buffer_fd"]
        [::std::mem::offset_of!(rknn_init_extend, model_buffer_fd) - 12usize];
    ["Offset of field: rknn_init_extend::model_buffer_flags"]
        [::std::mem::offset_of!(rknn_init_extend, model_buffer_flags) - 16usize];
    ["Offset of field: rknn_init_extend::reserved"]
        [::std::mem::offset_of!(rknn_init_extend, reserved) - 20usize];
};
impl Default for rknn_init_extend {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct rknn_run_extend {
    pub frame_id: u64,
    pub non_block: i32,
    pub timeout_ms: i32,
    pub fence_fd: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_run_extend"][::std::mem::size_of::<rknn_run_extend>() - 24usize];
    ["Alignment of rknn_run_extend"][::std::mem::align_of::<rknn_run_extend>() - 8usize];
    ["Offset of field: rknn_run_extend::frame_id"]
        [::std::mem::offset_of!(rknn_run_extend, frame_id) - 0usize];
    ["Offset of field: rknn_run_extend::non_block"]
        [::std::mem::offset_of!(rknn_run_extend, non_block) - 8usize];
    ["Offset of field: rknn_run_extend::timeout_ms"]
        [::std::mem::offset_of!(rknn_run_extend, timeout_ms) - 12usize];
    ["Offset of field: rknn_run_extend::fence_fd"]
        [::std::mem::offset_of!(rknn_run_extend, fence_fd) - 16usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct rknn_output_extend {
    pub frame_id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_output_extend"][::std::mem::size_of::<rknn_output_extend>() - 8usize];
    ["Alignment of rknn_output_extend"][::std::mem::align_of::<rknn_output_extend>() - 8usize];
    ["Offset of field: rknn_output_extend::frame_id"]
        [::std::mem::offset_of!(rknn_output_extend, frame_id) - 0usize];
};
impl rknn_target_type {
    pub const RKNN_TARGET_TYPE_CPU: rknn_target_type = rknn_target_type(1);
    pub const RKNN_TARGET_TYPE_GPU: rknn_target_type = rknn_target_type(2);
}
#[repr(transparent)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub struct rknn_target_type(pub ::std::os::raw::c_uint);
#[repr(C)]
#[derive(Debug)]
pub struct rknn_custom_op_context {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_custom_op_tensor {
    pub attr: rknn_tensor_attr,
    pub mem: rknn_tensor_mem,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_custom_op_tensor"][::std::mem::size_of::<rknn_custom_op_tensor>() - 416usize];
    ["Alignment of rknn_custom_op_tensor"][::std::mem::align_of::<rknn_custom_op_tensor>() - 8usize];
    ["Offset of field: rknn_custom_op_tensor::attr"]
        [::std::mem::offset_of!(rknn_custom_op_tensor, attr) - 0usize];
    ["Offset of field: rknn_custom_op_tensor::mem"]
        [::std::mem::offset_of!(rknn_custom_op_tensor, mem) - 376usize];
};
impl Default for rknn_custom_op_tensor {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub type rknn_custom_op_callback = ::std::option::Option<
    unsafe extern "C" fn(
        context: *mut rknn_custom_op_context,
        inputs: *mut rknn_custom_op_tensor,
        n_inputs: u32,
        outputs: *mut rknn_custom_op_tensor,
        n_outputs: u32,
    ) -> ::std::os::raw::c_int,
>;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rknn_custom_op {
    pub version: u32,
    pub target: rknn_target_type,
    pub op_type: [::std::os::raw::c_char; 256usize],
    pub cl_kernel_name: [::std::os::raw::c_char; 256usize],
    pub cl_kernel_source: *mut ::std::os::raw::c_char,
    pub cl_source_size: u64,
    pub cl_build_options: [::std::os::raw::c_char; 256usize],
    pub init: rknn_custom_op_callback,
    pub prepare: rknn_custom_op_callback,
    pub compute: rknn_custom_op_callback,
    pub compute_native: rknn_custom_op_callback,
    pub destroy: ::std::option::Option<
        unsafe extern "C" fn(context: *mut rknn_custom_op_context) -> ::std::os::raw::c_int,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of rknn_custom_op"][::std::mem::size_of::<rknn_custom_op>() - 816usize];
    ["Alignment of rknn_custom_op"][::std::mem::align_of::<rknn_custom_op>() - 8usize];
    ["Offset of field: rknn_custom_op::version"][::std::mem::offset_of!(rknn_custom_op, version) - 0usize];
    ["Offset of field: rknn_custom_op::target"][::std::mem::offset_of!(rknn_custom_op, target) - 4usize];
    ["Offset of field: rknn_custom_op::op_type"][::std::mem::offset_of!(rknn_custom_op, op_type) - 8usize];
    ["Offset of field: rknn_custom_op::cl_kernel_name"]
        [::std::mem::offset_of!(rknn_custom_op, cl_kernel_name) - 264usize];
    ["Offset of field: rknn_custom_op::cl_kernel_source"]
        [::std::mem::offset_of!(rknn_custom_op, cl_kernel_source) - 520usize];
    ["Offset of field: rknn_custom_op::cl_source_size"]
        [::std::mem::offset_of!(rknn_custom_op, cl_source_size) - 528usize];
    ["Offset of field: rknn_custom_op::cl_build_options"]
        [::std::mem::offset_of!(rknn_custom_op, cl_build_options) - 536usize];
    ["Offset of field: rknn_custom_op::init"][::std::mem::offset_of!(rknn_custom_op, init) - 792usize];
    ["Offset of field: rknn_custom_op::prepare"][::std::mem::offset_of!(rknn_custom_op, prepare) - 796usize];
    ["Offset of field: rknn_custom_op::compute"][::std::mem::offset_of!(rknn_custom_op, compute) - 800usize];
    ["Offset of field: rknn_custom_op::compute_native"]
        [::std::mem::offset_of!(rknn_custom_op, compute_native) - 804usize];
    ["Offset of field: rknn_custom_op::destroy"][::std::mem::offset_of!(rknn_custom_op, destroy) - 808usize];
};
impl Default for rknn_custom_op {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub struct RknnTable {
    __library: ::libloading::Library,
    pub rknn_init: Result<
        unsafe extern "C" fn(
            context: *mut rknn_context,
            model: *mut ::std::os::raw::c_void,
            size: u32,
            flag: u32,
            extend: *mut rknn_init_extend,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_dup_context: Result<
        unsafe extern "C" fn(
            context_in: *mut rknn_context,
            context_out: *mut rknn_context,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_destroy:
        Result<unsafe extern "C" fn(context: rknn_context) -> ::std::os::raw::c_int, ::libloading::Error>,
    pub rknn_query: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            cmd: rknn_query_cmd,
            info: *mut ::std::os::raw::c_void,
            size: u32,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_inputs_set: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            n_inputs: u32,
            inputs: *mut rknn_input,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_outputs_get: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            n_outputs: u32,
            outputs: *mut rknn_output,
            extend: *mut rknn_output_extend,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_outputs_release: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            n_outputs: u32,
            outputs: *mut rknn_output,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_run: Result<
        unsafe extern "C" fn(context: rknn_context, extend: *mut rknn_run_extend) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_wait: Result<
        unsafe extern "C" fn(context: rknn_context, extend: *mut rknn_run_extend) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_set_core_mask: Result<
        unsafe extern "C" fn(context: rknn_context, core_mask: rknn_core_mask) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_set_batch_core_num: Result<
        unsafe extern "C" fn(context: rknn_context, core_num: ::std::os::raw::c_int) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_create_mem: Result<
        unsafe extern "C" fn(context: rknn_context, size: u32) -> *mut rknn_tensor_mem,
        ::libloading::Error,
    >,
    pub rknn_create_mem2: Result<
        unsafe extern "C" fn(context: rknn_context, size: u64, alloc_flags: u64) -> *mut rknn_tensor_mem,
        ::libloading::Error,
    >,
    pub rknn_create_mem_from_fd: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            fd: i32,
            virt_addr: *mut ::std::os::raw::c_void,
            size: u32,
            offset: i32,
        ) -> *mut rknn_tensor_mem,
        ::libloading::Error,
    >,
    pub rknn_create_mem_from_phys: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            phys_addr: u64,
            virt_addr: *mut ::std::os::raw::c_void,
            size: u32,
        ) -> *mut rknn_tensor_mem,
        ::libloading::Error,
    >,
    pub rknn_create_mem_from_mb_blk: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            mb_blk: *mut ::std::os::raw::c_void,
            offset: i32,
        ) -> *mut rknn_tensor_mem,
        ::libloading::Error,
    >,
    pub rknn_destroy_mem: Result<
        unsafe extern "C" fn(context: rknn_context, mem: *mut rknn_tensor_mem) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_mem_sync: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            mem: *mut rknn_tensor_mem,
            mode: rknn_mem_sync_mode,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_set_io_mem: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            mem: *mut rknn_tensor_mem,
            attr: *mut rknn_tensor_attr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_set_weight_mem: Result<
        unsafe extern "C" fn(context: rknn_context, mem: *mut rknn_tensor_mem) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_set_internal_mem: Result<
        unsafe extern "C" fn(context: rknn_context, mem: *mut rknn_tensor_mem) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rknn_set_input_shapes: Result<
        unsafe extern "C" fn(
            context: rknn_context,
            n_inputs: u32,
            attr: *mut rknn_tensor_attr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
}
impl RknnTable {
    pub unsafe fn new<P>(path: P) -> Result<Self, ::libloading::Error>
    where
        P: AsRef<::std::ffi::OsStr>,
    {
        let path = path.as_ref();
        let library = unsafe { ::libloading::Library::new(path) }?;
        unsafe { Self::from_library(library) }
    }
    pub unsafe fn from_library<L>(library: L) -> Result<Self, ::libloading::Error>
    where
        L: Into<::libloading::Library>,
    {
        let __library = library.into();
        let rknn_init = unsafe { __library.get(b"rknn_init\0") }.map(|sym| *sym);
        let rknn_dup_context = unsafe { __library.get(b"rknn_dup_context\0") }.map(|sym| *sym);
        let rknn_destroy = unsafe { __library.get(b"rknn_destroy\0") }.map(|sym| *sym);
        let rknn_query = unsafe { __library.get(b"rknn_query\0") }.map(|sym| *sym);
        let rknn_inputs_set = unsafe { __library.get(b"rknn_inputs_set\0") }.map(|sym| *sym);
        let rknn_outputs_get = unsafe { __library.get(b"rknn_outputs_get\0") }.map(|sym| *sym);
        let rknn_outputs_release = unsafe { __library.get(b"rknn_outputs_release\0") }.map(|sym| *sym);
        let rknn_run = unsafe { __library.get(b"rknn_run\0") }.map(|sym| *sym);
        let rknn_wait = unsafe { __library.get(b"rknn_wait\0") }.map(|sym| *sym);
        let rknn_set_core_mask = unsafe { __library.get(b"rknn_set_core_mask\0") }.map(|sym| *sym);
        let rknn_set_batch_core_num = unsafe { __library.get(b"rknn_set_batch_core_num\0") }.map(|sym| *sym);
        let rknn_create_mem = unsafe { __library.get(b"rknn_create_mem\0") }.map(|sym| *sym);
        let rknn_create_mem2 = unsafe { __library.get(b"rknn_create_mem2\0") }.map(|sym| *sym);
        let rknn_create_mem_from_fd = unsafe { __library.get(b"rknn_create_mem_from_fd\0") }.map(|sym| *sym);
        let rknn_create_mem_from_phys =
            unsafe { __library.get(b"rknn_create_mem_from_phys\0") }.map(|sym| *sym);
        let rknn_create_mem_from_mb_blk =
            unsafe { __library.get(b"rknn_create_mem_from_mb_blk\0") }.map(|sym| *sym);
        let rknn_destroy_mem = unsafe { __library.get(b"rknn_destroy_mem\0") }.map(|sym| *sym);
        let rknn_mem_sync = unsafe { __library.get(b"rknn_mem_sync\0") }.map(|sym| *sym);
        let rknn_set_io_mem = unsafe { __library.get(b"rknn_set_io_mem\0") }.map(|sym| *sym);
        let rknn_set_weight_mem = unsafe { __library.get(b"rknn_set_weight_mem\0") }.map(|sym| *sym);
        let rknn_set_internal_mem = unsafe { __library.get(b"rknn_set_internal_mem\0") }.map(|sym| *sym);
        let rknn_set_input_shapes = unsafe { __library.get(b"rknn_set_input_shapes\0") }.map(|sym| *sym);
        Ok(RknnTable {
            __library,
            rknn_init,
            rknn_dup_context,
            rknn_destroy,
            rknn_query,
            rknn_inputs_set,
            rknn_outputs_get,
            rknn_outputs_release,
            rknn_run,
            rknn_wait,
            rknn_set_core_mask,
            rknn_set_batch_core_num,
            rknn_create_mem,
            rknn_create_mem2,
            rknn_create_mem_from_fd,
            rknn_create_mem_from_phys,
            rknn_create_mem_from_mb_blk,
            rknn_destroy_mem,
            rknn_mem_sync,
            rknn_set_io_mem,
            rknn_set_weight_mem,
            rknn_set_internal_mem,
            rknn_set_input_shapes,
        })
    }
    pub unsafe fn rknn_init(
        &self,
        context: *mut rknn_context,
        model: *mut ::std::os::raw::c_void,
        size: u32,
        flag: u32,
        extend: *mut rknn_init_extend,
    ) -> ::std::os::raw::c_int {
        unsafe {
            (self.rknn_init.as_ref().expect("Expected function, got error."))(
                context, model, size, flag, extend,
            )
        }
    }
    pub unsafe fn rknn_dup_context(
        &self,
        context_in: *mut rknn_context,
        context_out: *mut rknn_context,
    ) -> ::std::os::raw::c_int {
        unsafe {
            (self.rknn_dup_context.as_ref().expect("Expected function, got error."))(context_in, context_out)
        }
    }
    pub unsafe fn rknn_destroy(&self, context: rknn_context) -> ::std::os::raw::c_int {
        unsafe { (self.rknn_destroy.as_ref().expect("Expected function, got error."))(context) }
    }
    pub unsafe fn rknn_query(
        &self,
        context: rknn_context,
        cmd: rknn_query_cmd,
        info: *mut ::std::os::raw::c_void,
        size: u32,
    ) -> ::std::os::raw::c_int {
        unsafe {
            (self.rknn_query.as_ref().expect("Expected function, got error."))(context, cmd, info, size)
        }
    }
    pub unsafe fn rknn_inputs_set(
        &self,
        context: rknn_context,
        n_inputs: u32,
        inputs: *mut rknn_input,
    ) -> ::std::os::raw::c_int {
        unsafe {
            (self.rknn_inputs_set.as_ref().expect("Expected function, got error."))(context, n_inputs, inputs)
        }
    }
    pub unsafe fn rknn_outputs_get(
        &self,
        context: rknn_context,
        n_outputs: u32,
        outputs: *mut rknn_output,
        extend: *mut rknn_output_extend,
    ) -> ::std::os::raw::c_int {
        unsafe {
            (self.rknn_outputs_get.as_ref().expect("Expected function, got error."))(
                context, n_outputs, outputs, extend,
            )
        }
    }
    pub unsafe fn rknn_outputs_release(
        &self,
        context: rknn_context,
        n_outputs: u32,
        outputs: *mut rknn_output,
    ) -> ::std::os::raw::c_int {
        unsafe {
            (self.rknn_outputs_release.as_ref().expect("Expected function, got error."))(
                context, n_outputs, outputs,
            )
        }
    }
    pub unsafe fn rknn_run(
        &self,
        context: rknn_context,
        extend: *mut rknn_run_extend,
    ) -> ::std::os::raw::c_int {
        unsafe { (self.rknn_run.as_ref().expect("Expected function, got error."))(context, extend) }
    }
    pub unsafe fn rknn_wait(
        &self,
        context: rknn_context,
        extend: *mut rknn_run_extend,
    ) -> ::std::os::raw::c_int {
        unsafe { (self.rknn_wait.as_ref().expect("Expected function, got error."))(context, extend) }
    }
    pub unsafe fn rknn_set_core_mask(
        &self,
        context: rknn_context,
        core_mask: rknn_core_mask,
    ) -> ::std::os::raw::c_int {
        unsafe {
            (self.rknn_set_core_mask.as_ref().expect("Expected function, got error."))(context, core_mask)
        }
    }
    pub unsafe fn rknn_set_batch_core_num(
        &self,
        context: rknn_context,
        core_num: ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int {
        unsafe {
            (self.rknn_set_batch_core_num.as_ref().expect("Expected function, got error."))(context, core_num)
        }
    }
    pub unsafe fn rknn_create_mem(&self, context: rknn_context, size: u32) -> *mut rknn_tensor_mem {
        unsafe { (self.rknn_create_mem.as_ref().expect("Expected function, got error."))(context, size) }
    }
    pub unsafe fn rknn_create_mem2(
        &self,
        context: rknn_context,
        size: u64,
        alloc_flags: u64,
    ) -> *mut rknn_tensor_mem {
        unsafe {
            (self.rknn_create_mem2.as_ref().expect("Expected function, got error."))(
                context,
                size,
                alloc_flags,
            )
        }
    }
    pub unsafe fn rknn_create_mem_from_fd(
        &self,
        context: rknn_context,
        fd: i32,
        virt_addr: *mut ::std::os::raw::c_void,
        size: u32,
        offset: i32,
    ) -> *mut rknn_tensor_mem {
        unsafe {
            (self.rknn_create_mem_from_fd.as_ref().expect("Expected function, got error."))(
                context, fd, virt_addr, size, offset,
            )
        }
    }
    pub unsafe fn rknn_create_mem_from_phys(
        &self,
        context: rknn_context,
        phys_addr: u64,
        virt_addr: *mut ::std::os::raw::c_void,
        size: u32,
    ) -> *mut rknn_tensor_mem {
        unsafe {
            (self.rknn_create_mem_from_phys.as_ref().expect("Expected function, got error."))(
                context, phys_addr, virt_addr, size,
            )
        }
    }
    pub unsafe fn rknn_create_mem_from_mb_blk(
        &self,
        context: rknn_context,
        mb_blk: *mut ::std::os::raw::c_void,
        offset: i32,
    ) -> *mut rknn_tensor_mem {
        unsafe {
            (self.rknn_create_mem_from_mb_blk.as_ref().expect("Expected function, got error."))(
                context, mb_blk, offset,
            )
        }
    }
    pub unsafe fn rknn_destroy_mem(
        &self,
        context: rknn_context,
        mem: *mut rknn_tensor_mem,
    ) -> ::std::os::raw::c_int {
        unsafe { (self.rknn_destroy_mem.as_ref().expect("Expected function, got error."))(context, mem) }
    }
    pub unsafe fn rknn_mem_sync(
        &self,
        context: rknn_context,
        mem: *mut rknn_tensor_mem,
        mode: rknn_mem_sync_mode,
    ) -> ::std::os::raw::c_int {
        unsafe { (self.rknn_mem_sync.as_ref().expect("Expected function, got error."))(context, mem, mode) }
    }
    pub unsafe fn rknn_set_io_mem(
        &self,
        context: rknn_context,
        mem: *mut rknn_tensor_mem,
        attr: *mut rknn_tensor_attr,
    ) -> ::std::os::raw::c_int {
        unsafe { (self.rknn_set_io_mem.as_ref().expect("Expected function, got error."))(context, mem, attr) }
    }
    pub unsafe fn rknn_set_weight_mem(
        &self,
        context: rknn_context,
        mem: *mut rknn_tensor_mem,
    ) -> ::std::os::raw::c_int {
        unsafe { (self.rknn_set_weight_mem.as_ref().expect("Expected function, got error."))(context, mem) }
    }
    pub unsafe fn rknn_set_internal_mem(
        &self,
        context: rknn_context,
        mem: *mut rknn_tensor_mem,
    ) -> ::std::os::raw::c_int {
        unsafe { (self.rknn_set_internal_mem.as_ref().expect("Expected function, got error."))(context, mem) }
    }
    pub unsafe fn rknn_set_input_shapes(
        &self,
        context: rknn_context,
        n_inputs: u32,
        attr: *mut rknn_tensor_attr,
    ) -> ::std::os::raw::c_int {
        unsafe {
            (self.rknn_set_input_shapes.as_ref().expect("Expected function, got error."))(
                context, n_inputs, attr,
            )
        }
    }
}
