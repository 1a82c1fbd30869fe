/**
 * Owns the commands: their names, flags and help. Importing it costs little; what a command does is imported when it runs.
 *
 *   words -> readCommandLine -> command, its commander Command, its flags as one form -> main
 */
import { Command } from 'commander';
import { quote } from '../config/parsed.js';
import { choiceParser } from '../config/scalar.js';
import { type Arity, type ReadArgv, readArgv } from './argv.js';
import { addFlags, aritiesOf, BOOLEAN_PLACEHOLDER, type Flags, lettersOf, valueFlag } from './flag.js';
import { IGNORED_FLAGS } from './ignored-flags.js';
import { LOGGING_FLAGS, RUN_FLAGS } from './run-flags.js';
import { similar } from './similar.js';

export type CommandName = 'run' | 'demo' | 'status' | 'check' | 'cleanup';

const { v, 'logging-format': loggingFormat } = LOGGING_FLAGS;
const output = choiceParser(['table', 'json']);

export const DEMO_FLAGS = { engine: RUN_FLAGS.engine, v, 'logging-format': loggingFormat };
export const CHECK_FLAGS = {
  'hostname-override': RUN_FLAGS['hostname-override'],
  'service-proxy-name': RUN_FLAGS['service-proxy-name'],
  'bind-address': RUN_FLAGS['bind-address'],
  'nodeport-addresses': RUN_FLAGS['nodeport-addresses'],
  redirect: RUN_FLAGS.redirect,
};
export const STATUS_FLAGS = {
  'metrics-bind-address': {
    ...RUN_FLAGS['metrics-bind-address'],
    help: 'where the running process answers: its own --metrics-bind-address',
  },
  output: valueFlag(['Output', '<format>', 'table or json'], output, 'table', 'table'),
};
export const CLEANUP_FLAGS = { v, 'logging-format': loggingFormat };

interface CommandSpec {
  readonly summary: string;
  readonly flags: Flags;
  /** kube-proxy's other flags are accepted too. */
  readonly lenient?: true;
  readonly operands?: readonly [name: string, help: string];
  readonly epilogue: string;
}

const COMMANDS: Readonly<Record<CommandName, CommandSpec>> = {
  run: {
    summary: 'serve the Services until SIGTERM; the default',
    flags: RUN_FLAGS,
    lenient: true,
    epilogue: `
Times are written as in Go: 250ms, 1m30s, 1h. Flags of kube-proxy's other modes are accepted and do nothing.
SIGTERM and SIGINT drain and end, a second one ends at once; SIGHUP reads the files again.

Examples:
  $ kproxy-us demo                                   see it work: no cluster, no root
  $ kproxy-us --manifests app.yaml --redirect none   serve the node ports of a file, without root
  $ sudo kproxy-us --manifests /etc/services.d       serve ClusterIPs too, through iptables`,
  },
  demo: {
    summary: 'two Services, four backends, and things to try; no cluster, no root',
    flags: DEMO_FLAGS,
    epilogue: '',
  },
  status: {
    summary: 'what a running process has open, and how it does',
    flags: STATUS_FLAGS,
    epilogue: '',
  },
  check: {
    summary: 'say what manifests would open, or what is wrong with them',
    flags: CHECK_FLAGS,
    operands: ['manifests', 'files or directories of Service, EndpointSlice, Endpoints and Node objects'],
    epilogue: '\nExit code 2 where anything is wrong, after naming every fault as file:line:column.',
  },
  cleanup: {
    summary: 'remove every rule and route that any process of ours left',
    flags: CLEANUP_FLAGS,
    epilogue: '\nA process that ends leaves its rules in place, so that the next one takes over without a gap.',
  },
};

export interface CommandLine extends ReadArgv {
  readonly name: CommandName;
  /** The first word is no command: what follows it means nothing. */
  readonly noCommand: boolean;
  /** For the help and the texts of flags; already parsed. */
  readonly command: Command;
}

/** Picks the command by the first word and reads the others; nothing is printed and nothing ends. */
export function readCommandLine(words: readonly string[]): CommandLine {
  const { name, rest, fault } = pickCommand(words);
  const { flags, lenient, operands } = COMMANDS[name];
  const vocabulary = {
    flags: new Map<string, Arity>([...aritiesOf(flags), ['help', 'boolean'], ['version', 'boolean']]),
    ignored: lenient === true ? IGNORED_FLAGS : new Map<string, Arity>(),
    letters: new Map([...lettersOf(flags), ['h', 'help']]),
  };
  const read = readArgv(rest, vocabulary);
  const faults = fault === undefined ? [...read.faults] : [fault];
  if (operands === undefined && fault === undefined) faults.push(...read.operands.map(unexpected));
  const command = createCommand(name);
  command.parse(
    read.argv.filter((word) => !/^--(help|version)=/.test(word)),
    { from: 'user' },
  );
  return { ...read, name, noCommand: fault !== undefined, command, faults };
}

function pickCommand(words: readonly string[]): { name: CommandName; rest: readonly string[]; fault?: string } {
  const [first = '', second = ''] = words;
  if (first === 'help') return { name: isCommandName(second) ? second : 'run', rest: ['--help'] };
  if (isCommandName(first)) return { name: first, rest: words.slice(1) };
  if (first === '' || first.startsWith('-')) return { name: 'run', rest: words };
  const guess = similar(first, Object.keys(COMMANDS));
  const hint = guess === undefined ? '' : `; did you mean ${guess}?`;
  return { name: 'run', rest: words.slice(1), fault: `${quote(first)}: no such command${hint}` };
}

function unexpected(operand: string): string {
  const hint = isCommandName(operand) ? `; a command stands first: kproxy-us ${operand} ...` : '';
  return `${quote(operand)}: expected a flag${hint}`;
}

function isCommandName(word: string): word is CommandName {
  return Object.hasOwn(COMMANDS, word);
}

/** The help of a command, as wide as the terminal. */
export function helpOf(name: CommandName): string {
  const command = createCommand(name);
  return `${command.helpInformation()}${COMMANDS[name].epilogue}\n`;
}

function createCommand(name: CommandName): Command {
  const { flags, operands } = COMMANDS[name];
  const command = new Command(name === 'run' ? 'kproxy-us' : `kproxy-us ${name}`)
    .description(description(name))
    .usage(
      name === 'run'
        ? '[run] [flags]\n       kproxy-us <command> --help'
        : `[flags]${operands === undefined ? '' : ` <${operands[0]}...>`}`,
    )
    .helpOption('-h, --help', 'show this')
    .configureHelp({ optionTerm: ({ flags: usage }) => usage.replace(` ${BOOLEAN_PLACEHOLDER}`, '') })
    .allowExcessArguments()
    .exitOverride()
    .action(() => undefined);
  if (operands !== undefined) command.argument(`[${operands[0]}...]`, operands[1]);
  addFlags(command, flags);
  if (name === 'run') {
    command.option('--version', 'print the version');
    for (const [other, spec] of Object.entries(COMMANDS))
      command.addCommand(new Command(other).description(spec.summary));
  }
  return command;
}

/** Commands stand before the flags, which fill a screen. The indent keeps commander from wrapping the lines. */
function description(name: CommandName): string {
  const { summary } = COMMANDS[name];
  if (name !== 'run') return `${summary[0]?.toUpperCase()}${summary.slice(1)}.`;
  const commands = Object.entries(COMMANDS).map(([other, spec]) => `  ${other.padEnd(8)} ${spec.summary}`);
  return `${PROMISE}\n\nCommands:\n${commands.join('\n')}`;
}

const PROMISE =
  'A userspace Service proxy for Kubernetes: it opens a listener for each Service port, picks a backend, retries a dead one ' +
  'on another, and relays TCP and UDP.';
