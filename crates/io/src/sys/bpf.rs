//! A BPF program that drops every packet, and links that attach it to an interface's tcx hooks (Linux 6.6).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const PROG_TYPE_SCHED_CLS: u32 = 3;
/// `BPF_F_BEFORE` without a relative: in front of every program that is attached already, since one of these could
/// accept a packet for good.
const BEFORE_ALL: u32 = 1 << 3;

/// Where a program is attached.
#[derive(Clone, Copy)]
pub(crate) enum Hook {
    /// Behind the packet sockets, before the kernel's own stack.
    Ingress = 46,
    /// Before the queueing discipline, which packet sockets can bypass.
    Egress = 47,
}

/// `struct bpf_insn`.
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The part of `union bpf_attr` that loading uses.
#[repr(C)]
struct LoadRequest {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The part of `union bpf_attr` that attaching to a tcx hook uses.
#[repr(C)]
struct LinkRequest {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    padding: u32,
    expected_revision: u64,
}

/// Loads the program: `r0 = TC_ACT_SHOT; exit`.
pub(crate) fn load_drop() -> io::Result<OwnedFd> {
    const MOVE_64_IMMEDIATE: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    const TC_ACT_SHOT: i32 = 2;
    let program = [
        Instruction { code: MOVE_64_IMMEDIATE, registers: 0, offset: 0, immediate: TC_ACT_SHOT },
        Instruction { code: EXIT, registers: 0, offset: 0, immediate: 0 },
    ];
    let license = c"Apache-2.0";
    let request = LoadRequest {
        program_type: PROG_TYPE_SCHED_CLS,
        instruction_count: 2,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"palisade_drop\0\0\0",
    };
    // SAFETY: the request's addresses are those of two instructions and of a terminated string, which outlive the call.
    unsafe { bpf(PROG_LOAD, &request) }
}

/// Attaches the program to an interface of the current thread's namespace for as long as the descriptor lives.
pub(crate) fn attach(program: &OwnedFd, interface: u32, hook: Hook) -> io::Result<OwnedFd> {
    let request = LinkRequest {
        program: program.as_raw_fd().cast_unsigned(),
        interface,
        attach_type: hook as u32,
        flags: BEFORE_ALL,
        relative: 0,
        padding: 0,
        expected_revision: 0,
    };
    // SAFETY: the request holds no addresses.
    unsafe { bpf(LINK_CREATE, &request) }
}

/// Makes a request that is answered by a descriptor.
///
/// # Safety
/// `T` is a prefix of the kernel's `union bpf_attr` for the command, and the addresses in it are valid.
unsafe fn bpf<T>(command: libc::c_int, request: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise; the size is that of the request, the kernel reads the rest as zeros.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(request), size_of::<T>()) };
    let descriptor = i32::try_from(result).map_err(io::Error::other)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
