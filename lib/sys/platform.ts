/**
 * Owns which machines the layouts in this folder hold for, and whether libc can be called there at all.
 *
 *   process -> platformFault -> undefined, or why the native engine cannot run
 */
import { endianness } from 'node:os';

/** Checked layouts: see epoll.ts, message.ts, sockaddr.ts. Other machines have other ones (mips, s390x is big-endian). */
const ARCHITECTURES: readonly string[] = ['x64', 'arm64'];

/** Why the layouts of this folder do not hold on this machine; undefined where they do. glibc and musl both do. */
export function platformFault(
  platform: string = process.platform,
  architecture: string = process.arch,
  order: string = endianness(),
): string | undefined {
  if (platform !== 'linux') return `needs Linux, this is ${platform}`;
  if (!ARCHITECTURES.includes(architecture) || order !== 'LE') {
    return `knows the structures of ${ARCHITECTURES.join(' and ')}, this is ${architecture}`;
  }
  return undefined;
}

/** koffi is an optional dependency: `--omit=optional`, or a platform it has no binary for, leaves it out. */
export async function requireKoffi(): Promise<void> {
  try {
    await import('koffi');
  } catch (cause) {
    throw new Error('the native engine needs the optional package koffi, which cannot be loaded', { cause });
  }
}
