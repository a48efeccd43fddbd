import { write } from "../attach/output.js";
import type { Context } from "../context.js";

// The scripts are thin: `zonectl __complete` knows the command tree and the names. It prints a candidate a line, or the
// line ":files" when the shell is to complete file names.
const SCRIPTS: Record<string, string> = {
  bash: `_zonectl() {
  local IFS=$'\\n' words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  local reply
  reply=$(zonectl __complete -- "\${words[@]}" 2>/dev/null) || return
  if [[ $reply == :files ]]; then
    COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
  else
    COMPREPLY=($reply)
  fi
}
complete -F _zonectl zonectl
`,
  zsh: `#compdef zonectl
_zonectl() {
  local reply
  reply=$(zonectl __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null) || return
  if [[ $reply == :files ]]; then
    _files
  else
    compadd -- \${(f)reply}
  fi
}
compdef _zonectl zonectl
`,
  fish: `function __zonectl_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l reply (zonectl __complete -- $words[2..-1] 2>/dev/null)
  if test "$reply" = ":files"
    __fish_complete_path (commandline -ct)
  else
    string join \\n -- $reply
  end
end
complete -c zonectl -f -a "(__zonectl_complete)"
`,
};

/** `zonectl completion SHELL`: a script for the shell to source. */
export async function completion(context: Context, shell: string): Promise<number> {
  await write(context.stdout, SCRIPTS[shell] ?? "");
  return 0;
}
