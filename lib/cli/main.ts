/**
 * Owns the command line: which command runs, with what, and the exit code it ends with.
 *
 *   words -> readCommandLine -> faults (all at once, exit 2) | the command -> exit code
 *
 * Commands are imported when they run, so that `--help` and `--version` answer at once.
 */
import { hostname } from 'node:os';
import { keepHeapsSmall } from '../config/heap.js';
import type { Options } from '../config/options.js';
import { packageVersion } from '../config/version.js';
import type { ExitCode } from './exit-code.js';
import { readFlags } from './flag.js';
import {
  CHECK_FLAGS,
  CLEANUP_FLAGS,
  type CommandLine,
  type CommandName,
  DEMO_FLAGS,
  helpOf,
  readCommandLine,
  STATUS_FLAGS,
} from './program.js';
import { checkSource, statusAddress } from './run-options.js';

export async function main(words: readonly string[]): Promise<ExitCode> {
  const line = readCommandLine(words);
  if (line.argv.includes('--help=true')) return print(helpOf(line.name));
  if (line.argv.some((word) => /^--version=(?!false)/.test(word))) return print(`kproxy-us ${packageVersion()}\n`);
  if (line.noCommand) return refuse(line.faults, line.name);
  return COMMANDS[line.name](line, [...line.faults]);
}

type Runner = (line: CommandLine, faults: string[]) => Promise<ExitCode>;

const COMMANDS: Readonly<Record<CommandName, Runner>> = { run, demo, status, check, cleanup };

async function run(line: CommandLine): Promise<ExitCode> {
  keepHeapsSmall();
  const { resolveRun } = await import('./resolve-run.js');
  const resolve = () => resolveRun(line, environment());
  const resolved = await resolve();
  const { flags, options } = resolved;
  const writeTo = flags['write-config-to'];
  const faults = [...resolved.faults];
  if (!flags.cleanup && !flags['init-only'] && writeTo === undefined) checkSource(flags, faults);
  if (faults.length > 0) return refuse(faults, line.name);
  if (flags.cleanup) return startCleanup(options);
  if (flags['init-only']) return print('kproxy-us: nothing needs to be prepared with full root rights\n');
  if (writeTo !== undefined) {
    const { writeConfig } = await import('./write-config.js');
    return writeConfig(writeTo, resolved);
  }
  const { run: start } = await import('./run.js');
  return start(resolved, line.ignored, resolve);
}

async function demo(line: CommandLine, faults: string[]): Promise<ExitCode> {
  const flags = readFlags(line.command, DEMO_FLAGS, faults);
  if (faults.length > 0) return refuse(faults, line.name);
  const { demo: start } = await import('./demo.js');
  return start({ engine: flags.engine, verbosity: flags.v, loggingFormat: flags['logging-format'] });
}

async function status(line: CommandLine, faults: string[]): Promise<ExitCode> {
  const flags = readFlags(line.command, STATUS_FLAGS, faults);
  const address = statusAddress(flags['metrics-bind-address'], faults);
  if (faults.length > 0 || address === undefined) return refuse(faults, line.name);
  const { status: start } = await import('./status.js');
  return start(address, flags.output);
}

async function check(line: CommandLine, faults: string[]): Promise<ExitCode> {
  const flags = readFlags(line.command, CHECK_FLAGS, faults);
  if (line.operands.length === 0 && line.faults.length === 0) faults.push('expected files or directories of manifests');
  if (faults.length > 0) return refuse(faults, line.name);
  const { check: start } = await import('./check.js');
  return start(line.operands, flags, environment());
}

async function cleanup(line: CommandLine, faults: string[]): Promise<ExitCode> {
  const flags = readFlags(line.command, CLEANUP_FLAGS, faults);
  if (faults.length > 0) return refuse(faults, line.name);
  return startCleanup({ verbosity: flags.v, loggingFormat: flags['logging-format'] });
}

async function startCleanup(options: Pick<Options, 'verbosity' | 'loggingFormat'>): Promise<ExitCode> {
  const { cleanup: start } = await import('./cleanup.js');
  return start(options);
}

function environment() {
  return { nodeName: process.env['NODE_NAME'], hostname: hostname() };
}

function print(text: string): ExitCode {
  process.stdout.write(text);
  return 0;
}

/** Every fault on a line of its own (rule C1). */
function refuse(faults: readonly string[], name: CommandName): ExitCode {
  const help = `See kproxy-us ${name === 'run' ? '' : `${name} `}--help.`;
  process.stderr.write(`${faults.map((fault) => `error: ${fault}\n`).join('')}${help}\n`);
  return 2;
}
