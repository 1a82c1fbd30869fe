/**
 * Owns a seccomp filter for the process that imports it first (`node --import`): the system call numbered FORBIDDEN_CALL fails with
 * EPERM, as in a container whose profile does not know it (seccomp(2)). Threads and children that come after have it too.
 */
import { isMainThread } from 'node:worker_threads';
import koffi from 'koffi';

const PR_SET_SECCOMP = 22;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_MODE_FILTER = 2;
const EPERM = 1;
/** struct sock_filter: code, jump if true, jump if false, operand. */
const instructions = (call: number): readonly (readonly [number, number, number, number])[] => [
  // The number of the call, at offset 0 of seccomp_data.
  [0x20, 0, 0, 0],
  [0x15, 0, 1, call],
  [0x06, 0, 0, 0x00050000 | EPERM],
  [0x06, 0, 0, 0x7fff0000],
];

function install(call: number): void {
  const prctl = koffi.load(null).func('int prctl(int, uintptr_t, uintptr_t, uintptr_t, uintptr_t)');
  const program = instructions(call);
  const filter = Buffer.alloc(8 * program.length);
  for (const [i, [code, ifTrue, ifFalse, operand]] of program.entries()) {
    filter.writeUInt16LE(code, 8 * i);
    filter.writeUInt8(ifTrue, 8 * i + 2);
    filter.writeUInt8(ifFalse, 8 * i + 3);
    filter.writeUInt32LE(operand, 8 * i + 4);
  }
  // struct sock_fprog: length, padding, pointer.
  const header = Buffer.alloc(16);
  header.writeUInt16LE(program.length, 0);
  header.writeBigUInt64LE(koffi.address(filter), 8);
  const set = [
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, koffi.address(header), 0, 0),
  ];
  if (set.some((result) => result !== 0)) throw new Error(`no seccomp filter: ${set.join(', ')}, ${koffi.errno()}`);
}

if (isMainThread) install(Number(process.env['FORBIDDEN_CALL']));
