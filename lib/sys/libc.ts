/**
 * Owns every call into libc. Importing this file loads koffi, which is optional: only the native engine and its self-test do,
 * and they do it where a failure is caught.
 *
 *   relay/native -> these functions -> koffi -> libc -> kernel
 *
 * Addresses are numbers, not objects (an object costs a lookup in every call); they come from `Memory`, whose owner keeps it
 * alive during the call. Results are those of the man page: -1 means failure, and `errno()` must be read before any other call.
 * Nothing here blocks except `epollWait`.
 */
import koffi from 'koffi';
import { SystemError } from './errors.js';

const libc = koffi.load(null);

/** The variadic fcntl(2) is declared with its one argument: on Linux both ABIs pass it in the same register. */
function bind<F extends (...values: number[]) => number>(definition: string): F {
  return libc.func(definition) as unknown as F;
}

type Call1 = (a: number) => number;
type Call2 = (a: number, b: number) => number;
type Call3 = (a: number, b: number, c: number) => number;
type Call4 = (a: number, b: number, c: number, d: number) => number;
type Call5 = (a: number, b: number, c: number, d: number, e: number) => number;
type Call6 = (a: number, b: number, c: number, d: number, e: number, f: number) => number;

/** errno(3) of the last call of this thread that failed. */
export const errno = koffi.errno as () => number;

/** socket(2): (family, type | flags, protocol) -> descriptor. */
export const socket = bind<Call3>('int socket(int, int, int)');
/** bind(2): (fd, sockaddr, length). */
export const bindSocket = bind<Call3>('int bind(int, uintptr_t, uint32_t)');
/** listen(2): (fd, backlog). */
export const listen = bind<Call2>('int listen(int, int)');
/** accept4(2): (fd, sockaddr or 0, length in and out or 0, flags) -> descriptor. */
export const accept4 = bind<Call4>('int accept4(int, uintptr_t, uintptr_t, int)');
/** connect(2): (fd, sockaddr, length). */
export const connect = bind<Call3>('int connect(int, uintptr_t, uint32_t)');
/** shutdown(2): (fd, how). */
export const shutdown = bind<Call2>('int shutdown(int, int)');
/** close(2): the descriptor is gone whatever the result, also on EINTR. */
export const close = bind<Call1>('int close(int)');
/** getsockname(2): (fd, sockaddr, length in and out). */
export const getsockname = bind<Call3>('int getsockname(int, uintptr_t, uintptr_t)');
/** getpeername(2): (fd, sockaddr, length in and out). */
export const getpeername = bind<Call3>('int getpeername(int, uintptr_t, uintptr_t)');
/** getsockopt(2): (fd, level, name, value, length in and out). */
export const getsockopt = bind<Call5>('int getsockopt(int, int, int, uintptr_t, uintptr_t)');
/** setsockopt(2): (fd, level, name, value, length). */
export const setsockopt = bind<Call5>('int setsockopt(int, int, int, uintptr_t, uint32_t)');

/** recv(2): (fd, buffer, length, flags) -> bytes; 0 is EOF on a stream, an empty datagram on UDP. */
export const recv = bind<Call4>('intptr_t recv(int, uintptr_t, size_t, int)');
/** send(2): (fd, buffer, length, flags) -> bytes. */
export const send = bind<Call4>('intptr_t send(int, uintptr_t, size_t, int)');
/** recvmmsg(2): (fd, mmsghdr[], count, flags, timeout or 0) -> messages. */
export const recvmmsg = bind<Call5>('int recvmmsg(int, uintptr_t, uint32_t, int, uintptr_t)');
/** sendmmsg(2): (fd, mmsghdr[], count, flags) -> messages. */
export const sendmmsg = bind<Call4>('int sendmmsg(int, uintptr_t, uint32_t, int)');
/** splice(2): (from, offset or 0, to, offset or 0, length, flags) -> bytes. */
export const splice = bind<Call6>('intptr_t splice(int, uintptr_t, int, uintptr_t, size_t, uint32_t)');
/** pipe2(2): (int[2], flags). */
export const pipe2 = bind<Call2>('int pipe2(uintptr_t, int)');
/** fcntl(2): (fd, command, argument). */
export const fcntl = bind<Call3>('int fcntl(int, int, intptr_t)');

/** epoll_create1(2): (flags) -> descriptor. */
export const epollCreate1 = bind<Call1>('int epoll_create1(int)');
/** epoll_ctl(2): (epoll, operation, fd, epoll_event). */
export const epollCtl = bind<Call4>('int epoll_ctl(int, int, int, uintptr_t)');
/** epoll_wait(2): (epoll, epoll_event[], count, timeout in ms or -1) -> events. Blocks. */
export const epollWait = bind<Call4>('int epoll_wait(int, uintptr_t, int, int)');
/** eventfd(2): (initial value, flags) -> descriptor. */
export const eventfd = bind<Call2>('int eventfd(uint32_t, int)');
/** read(2): (fd, buffer, length) -> bytes. */
export const read = bind<Call3>('intptr_t read(int, uintptr_t, size_t)');
/** write(2): (fd, buffer, length) -> bytes. */
export const write = bind<Call3>('intptr_t write(int, uintptr_t, size_t)');
/** memcpy(3): (to, from, length). Cheaper than a view on the source when both are only known by address. */
export const memcpy = bind<Call3>('uintptr_t memcpy(uintptr_t, uintptr_t, size_t)');

/** io_uring_setup(2), io_uring_enter(2): no libc has a function for them; the numbers are those of x64 and arm64 alike. */
const syscall = bind<(n: number, a: number, b: number, c: number, d: number, e: number, f: number) => number>(
  'intptr_t syscall(intptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t)',
);
const IO_URING_SETUP = 425;
const IO_URING_ENTER = 426;
/** io_uring_setup(2): (entries, io_uring_params) -> descriptor. */
export const ioUringSetup = (entries: number, params: number): number =>
  syscall(IO_URING_SETUP, entries, params, 0, 0, 0, 0);
/** io_uring_enter(2): (fd, entries to submit, completions to wait for, flags) -> entries submitted. */
export const ioUringEnter = (fd: number, submit: number, wait: number, flags: number): number =>
  syscall(IO_URING_ENTER, fd, submit, wait, flags, 0, 0);
/** mmap(2): (hint or 0, length, protection, flags, fd, offset) -> address, or MAP_FAILED. */
export const mmap = bind<Call6>('intptr_t mmap(uintptr_t, size_t, int, int, int, intptr_t)');
/** munmap(2): (address, length). */
export const munmap = bind<Call2>('int munmap(uintptr_t, size_t)');

/** The result of a call that should not fail, or `SystemError`. */
export function must(syscall: string, result: number): number {
  if (result < 0) throw new SystemError(syscall, errno());
  return result;
}

/** The address of the bytes of a buffer that V8 does not move: every `ArrayBuffer` of its own. */
export function addressOf(buffer: ArrayBuffer): number {
  return Number(koffi.address(buffer));
}

/** Memory that is not ours as a buffer. Whoever unmaps it lets go of the buffer first. */
export function viewOf(address: number, bytes: number): ArrayBuffer {
  return koffi.view(address, bytes);
}
