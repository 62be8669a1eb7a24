//! Shell completions and the manual page, generated from the grammar.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Error, ExitStatus, output};

/// Print completions for a shell.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the completions.
    pub fn run(self) -> Result<ExitStatus, Error> {
        let mut command = Cli::command();
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "plakar-icloud", &mut text);
        output::print(&String::from_utf8_lossy(&text))?;
        Ok(ExitStatus::Success)
    }
}

/// Prints the manual page of the program, followed by one for each command.
pub fn man() -> Result<ExitStatus, Error> {
    let mut text = Vec::new();
    let mut command = Cli::command();
    command.build();
    let rendered = Error::io("the manual page cannot be rendered");
    let pages = command.get_subcommands().filter(|command| command.get_name() != "help");
    let render = || {
        clap_mangen::Man::new(command.clone()).render(&mut text)?;
        for page in pages {
            let man = clap_mangen::Man::new(page.clone());
            man.render_name_section(&mut text)?;
            man.render_synopsis_section(&mut text)?;
            man.render_description_section(&mut text)?;
            man.render_options_section(&mut text)?;
        }
        std::io::Result::Ok(())
    };
    render().map_err(rendered)?;
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitStatus::Success)
}
