/**
 * Owns the log: levels, the two formats, and what happens to a flood (rule H6).
 *
 *   part -> Log.warn -> FloodGate -> text line, or pino's JSON -> stderr
 */
import pino from 'pino';
import { errorChain } from '../config/error-text.js';
import type { Log, LogFields } from '../config/log.js';
import type { Options } from '../config/options.js';
import { type Clock, monotonicClock } from '../model/clock.js';
import { FloodGate, type Repeated } from './flood.js';
import { textLine } from './log-text.js';

export interface LoggerOptions {
  readonly format: Options['loggingFormat'];
  /** From 4 on, debug lines are written. */
  readonly verbosity: number;
  /** Takes whole lines; stderr where none is given. */
  readonly destination?: { write(line: string): void };
  readonly clock?: Clock;
  /** Milliseconds since the epoch, for the time of a line. */
  readonly nowEpochMs?: () => number;
  readonly floodWindowMs?: number;
}

export interface Logger extends Log {
  setVerbosity(verbosity: number): void;
  /** Writes what a flood held back; the log can still be used afterwards. */
  close(): void;
}

type Level = 'debug' | 'info' | 'warn' | 'error';
type Write = (level: Level, message: string, fields: LogFields) => void;

const DEBUG_VERBOSITY = 4;
const FLOOD_WINDOW_MS = 30_000;

export function createLogger(options: LoggerOptions): Logger {
  const { format, verbosity, nowEpochMs = Date.now } = options;
  const writeLine = (format === 'json' ? jsonWriter : textWriter)(options.destination ?? stderr(), nowEpochMs);
  const write: Write = (level, message, fields) => writeLine(level, message, withoutReserved(fields));
  const flood = new FloodControl(options.floodWindowMs ?? FLOOD_WINDOW_MS, options.clock ?? monotonicClock, write);
  let debugs = verbosity >= DEBUG_VERBOSITY;
  return {
    debug: (message, fields = {}) => {
      if (debugs) write('debug', message, fields);
    },
    info: (message, fields = {}) => write('info', message, fields),
    warn: (message, fields = {}) => flood.write('warn', message, fields),
    error: (message, fields = {}) => flood.write('error', message, fields),
    setVerbosity: (level) => {
      debugs = level >= DEBUG_VERBOSITY;
    },
    close: () => flood.close(),
  };
}

/** Writes at once, so that the last line before an end is not lost. A reader that went away costs the lines, not the proxy. */
function stderr(): { write(line: string): void } {
  const destination = pino.destination({ fd: 2, sync: true });
  destination.on('error', () => undefined);
  return destination;
}

function textWriter(destination: { write(line: string): void }, nowEpochMs: () => number): Write {
  return (level, message, fields) =>
    destination.write(textLine(new Date(nowEpochMs()).toISOString(), level, message, fields));
}

function jsonWriter(destination: { write(line: string): void }, nowEpochMs: () => number): Write {
  const logger = pino(
    {
      base: null,
      level: 'debug',
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date(nowEpochMs()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error: unknown) => (error instanceof Error ? errorChain(error) : error) },
    },
    destination,
  );
  return (level, message, fields) => logger[level](fields, message);
}

/**
 * A field may not stand in for the level, the time or the message of its line: JSON readers take the last of a name. A field
 * `message`, which every error has, is the `detail` of the line; in both formats the same.
 */
function withoutReserved(fields: LogFields): LogFields {
  if (!('level' in fields || 'time' in fields || 'message' in fields)) return fields;
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [RENAMED[name] ?? name, value]));
}

const RENAMED: Readonly<Record<string, string>> = { level: 'fieldLevel', time: 'fieldTime', message: 'detail' };

/** `key` tells kinds of a flood apart where no other field does; it is not for the reader. */
function withoutKey(fields: LogFields): LogFields {
  if (!('key' in fields)) return fields;
  const { key: _, ...others } = fields;
  return others;
}

class FloodControl {
  readonly #gate: FloodGate;
  readonly #write: Write;
  #timer: NodeJS.Timeout | undefined;

  constructor(windowMs: number, clock: Clock, write: Write) {
    this.#gate = new FloodGate(windowMs, clock);
    this.#write = write;
  }

  write(level: 'warn' | 'error', message: string, fields: LogFields): void {
    this.#flush(this.#gate.due());
    if (this.#gate.admit(level, message, fields)) this.#write(level, message, withoutKey(fields));
    this.#arm();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flush(this.#gate.drain());
  }

  #flush(held: readonly Repeated[]): void {
    for (const { level, message, fields, repeated } of held)
      this.#write(level, message, { ...withoutKey(fields), repeated });
  }

  /** One timer for all kinds; it keeps no process alive. */
  #arm(): void {
    const dueMs = this.#gate.nextDueMs();
    if (this.#timer !== undefined || dueMs === undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flush(this.#gate.due());
      this.#arm();
    }, Math.ceil(dueMs)).unref();
  }
}
