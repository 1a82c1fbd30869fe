/** Owns how a failed call is told: by the name of its errno, and as an error where the program does not branch on the number. */
import { getSystemErrorName } from 'node:util';

/** `ECONNREFUSED` for 111. A number that libuv does not know is told as `errno 999`. */
export function errnoName(errno: number): string {
  const name = getSystemErrorName(-errno);
  return /^E[A-Z0-9]+$/.test(name) ? name : `errno ${errno}`;
}

/** A call that should not fail did. `code` is the name of the errno. */
export class SystemError extends Error {
  override readonly name = 'SystemError';
  readonly code: string;

  constructor(
    readonly syscall: string,
    readonly errno: number,
  ) {
    super(`${syscall}: ${errnoName(errno)}`);
    this.code = errnoName(errno);
  }
}
