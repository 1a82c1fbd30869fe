/**
 * Owns what a command line of `run` amounts to, together with the file that its --config names.
 *
 *   CommandLine -> flags -> --config over them -> Options | faults, all of them (rule C1)
 *
 * Done at start, and again whenever the file changes.
 */
import type { Options } from '../config/options.js';
import { type Effective, readConfigFile, withConfigFile } from './config-file.js';
import { givenFlags, readFlags } from './flag.js';
import type { CommandLine } from './program.js';
import { RUN_FLAGS } from './run-flags.js';
import { type Environment, optionsFrom, type RunFlagValues } from './run-options.js';

export interface ResolvedRun {
  readonly flags: RunFlagValues;
  readonly options: Options;
  /** undefined without --config. */
  readonly config: ConfigNotes | undefined;
  readonly faults: readonly string[];
}

/** What is said once of a file. */
export interface ConfigNotes {
  readonly path: string;
  /** Flags beside the file that do not count. */
  readonly overridden: readonly string[];
  readonly unused: readonly string[];
  readonly unknown: readonly string[];
}

export async function resolveRun(line: CommandLine, environment: Environment): Promise<ResolvedRun> {
  const faults = [...line.faults];
  const flags = readFlags(line.command, RUN_FLAGS, faults);
  // To clean up or to prepare, nothing has to be known; a file that is wrong must not be in the way.
  if (flags.config === undefined || flags.cleanup || flags['init-only']) {
    return { flags, options: optionsFrom(flags, environment, faults), config: undefined, faults };
  }
  const given = givenFlags(line.command, RUN_FLAGS);
  const file = await readConfigFile(flags.config, given);
  const effective: Effective = withConfigFile(flags, given, file);
  faults.push(...file.faults);
  const { overridden, nameOf } = effective;
  const { unused, unknown } = file;
  const options = optionsFrom(effective.flags, environment, faults, nameOf);
  return { flags: effective.flags, options, config: { path: flags.config, overridden, unused, unknown }, faults };
}
