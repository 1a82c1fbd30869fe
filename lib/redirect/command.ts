/**
 * Owns running a tool of the system: no shell, input on stdin, bounded output, an end in any case.
 *
 *   program, args, input -> spawn -> exit code, stdout, stderr
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { delimiter } from 'node:path';
import { RedirectError } from './redirector.js';

export interface CommandResult {
  /** null where a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  /** Its first 16 KiB. */
  readonly stderr: string;
}

export interface CommandOptions {
  readonly input?: string;
  /** Killed after this time. */
  readonly timeoutMs?: number;
  /** Killed beyond this size of stdout. */
  readonly maxOutputBytes?: number;
}

/** A failing exit code is a result. Rejects with `RedirectError` where the program is missing, hangs or prints too much. */
export type Exec = (program: string, args: readonly string[], options?: CommandOptions) => Promise<CommandResult>;

/** 5,000 rules take 0.2 s; a node that swaps may take a hundred times that. */
const TIMEOUT_MS = 60_000;
/** 5,000 rules print 0.8 MB. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const MAX_STDERR_CHARACTERS = 16 * 1024;

/** Where these tools live; the PATH of a service manager or of a plain user may lack it. */
const SYSTEM_DIRS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

export const runCommand: Exec = (program, args, options = {}) =>
  new Promise((resolve, reject) => {
    const { timeoutMs = TIMEOUT_MS, maxOutputBytes = MAX_OUTPUT_BYTES } = options;
    const child = start(program, args);
    const stdout: Buffer[] = [];
    let stdoutBytes = 0;
    let stderr = '';
    const timer = setTimeout(() => stop(`took over ${timeoutMs} ms`), timeoutMs);
    /** Settles at once: what holds its output open (a child of its own) must not hold us. */
    const stop = (why: string) => {
      child.kill('SIGKILL');
      child.stdout.destroy();
      child.stderr.destroy();
      clearTimeout(timer);
      reject(new RedirectError('COMMAND_FAILED', `${[program, ...args].join(' ')}: ${why}${said(stderr)}`));
    };
    child.stdout.on('data', (data: Buffer) => {
      stdout.push(data);
      stdoutBytes += data.length;
      if (stdoutBytes > maxOutputBytes) stop(`printed over ${maxOutputBytes} bytes`);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(0, MAX_STDERR_CHARACTERS);
    });
    // A tool that ended before it read everything is reported by its exit, not by EPIPE.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input);
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(cannotRun(program, error));
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout: Buffer.concat(stdout).toString('utf8'), stderr });
    });
  });

function start(program: string, args: readonly string[]): ChildProcessWithoutNullStreams {
  const path = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_DIRS].join(delimiter);
  // LC_ALL: what we look for in its messages is English.
  return spawn(program, args, { env: { ...process.env, PATH: path, LC_ALL: 'C' }, stdio: 'pipe' });
}

function cannotRun(program: string, error: NodeJS.ErrnoException): RedirectError {
  if (error.code === 'ENOENT') {
    return new RedirectError('MISSING_TOOL', `${program} is not installed`, { cause: error });
  }
  return new RedirectError('COMMAND_FAILED', `${program} cannot be run: ${error.message}`, { cause: error });
}

/** What a tool printed about its failure, as the end of a message. */
export function said(stderr: string): string {
  const text = stderr.trim().replaceAll(/\s*\n\s*/g, '; ');
  return text === '' ? '' : `: ${text.slice(0, 1_000)}`;
}
